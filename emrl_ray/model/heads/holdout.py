"""The rows that a head is fitted to: checked, and a part of them held out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emrl_ray.config.errors import UserError


def check_rows(
    name: str,
    embeddings: NDArray[np.float32],
    targets: NDArray[np.float64],
    least: int,
) -> None:
    """Raise UserError, in one line, unless there are `least` finite rows (n, m) and targets (n,)."""
    if embeddings.ndim != 2 or targets.shape != embeddings.shape[:1]:
        raise UserError(
            f"{name} head: embeddings (n, m) and targets (n,) needed, "
            f"got {embeddings.shape} and {targets.shape}"
        )
    if len(targets) < least:
        raise UserError(f"{name} head: needs at least {least} rows to fit, got {len(targets)}")
    for what, values in (("embeddings", embeddings), ("targets", targets[:, None])):
        bad = int((~np.isfinite(values)).any(axis=1).sum())
        if bad:
            raise UserError(f"{name} head: {bad} of {len(targets)} {what} not finite")


def hold_out(count: int, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (kept, held): `count` rows in random order, `share` of them (at least one) held out."""
    order = np.random.default_rng(seed).permutation(count)
    held = max(1, round(count * share))
    return order[held:], order[:held]
