"""What the configurations share: how a field is marked and checked, and the common options."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from emrl_ray.config.errors import UserError


def positional(**options: Any) -> Any:
    """Return a dataclass field that the command line takes by position."""
    return field(metadata={"positional": True}, **options)


def alias(name: str, **options: Any) -> Any:
    """Return a dataclass field, None by default, that the command line also takes as `--NAME`."""
    return field(default=None, metadata={"alias": name}, **options)


@dataclass(kw_only=True)
class ClusterOptions:
    """Where and how wide to run."""

    address: str | None = None
    """Ray cluster to join; none starts a local one, except in a submitted job, which joins its own."""
    workers: int | None = None
    """Most worker processes at a time; none uses what the cluster offers."""
    cpus_per_worker: int = 1
    """CPUs (and threads) of one worker."""

    def __post_init__(self) -> None:
        if self.workers is not None:
            at_least("workers", self.workers, 1)
        at_least("cpus_per_worker", self.cpus_per_worker, 1)


EngineChoice = Literal["auto", "local", "ray"]


@dataclass(kw_only=True)
class EngineOptions(ClusterOptions):
    """Where and how wide to run what one process can do too."""

    engine: EngineChoice = "auto"
    """Run in this process (local) or on Ray; auto is local for up to 5,000 rows or files on one worker."""

    def __post_init__(self) -> None:
        ClusterOptions.__post_init__(self)
        check_engine(self.engine, address=self.address, workers=self.workers)


def check_engine(engine: EngineChoice, *, workers: int | None, **asked: object) -> None:
    """Raise UserError, in one line, if options ask the local engine for more than one process."""
    if engine != "local":
        return
    if workers is not None and workers > 1:
        asked["workers"] = workers
    for name, value in asked.items():
        if value not in (None, False):
            raise UserError(
                f"--engine local: runs in one process without a GPU; leave out {option_text(name, value)}"
            )


@dataclass(kw_only=True)
class Resumable:
    """A job that goes on where an earlier call with the same options stopped."""

    overwrite: bool = False
    """Start anew and delete what an earlier run left."""


@dataclass(kw_only=True)
class CrystalLimits:
    """What a crystal may be at most."""

    max_atoms: int = 1000
    """Most atoms in a cell; larger ones are rejected."""
    max_pairs: int = 400_000
    """Most pairs within the cutoff that a cell may be expected to have."""
    min_distance: float = 0.3
    """Sites nearer than this (Å) overlap, and the crystal is rejected."""

    def __post_init__(self) -> None:
        at_least("max_atoms", self.max_atoms, 1)
        at_least("max_pairs", self.max_pairs, 1)
        at_least("min_distance", self.min_distance, 0)


def at_least(option: str, value: float, low: float) -> None:
    """Raise UserError, in one line, unless `value` is `low` or more."""
    if not value >= low:
        raise UserError(f"{_option(option)} {value}: must be at least {low}")


def above(option: str, value: float, low: float) -> None:
    """Raise UserError, in one line, unless `value` is more than `low`."""
    if not value > low:
        raise UserError(f"{_option(option)} {value}: must be above {low}")


def between(option: str, value: float, low: float, high: float) -> None:
    """Raise UserError, in one line, unless `value` lies in [`low`, `high`]."""
    if not low <= value <= high:
        raise UserError(f"{_option(option)} {value}: must lie in [{low}, {high}]")


def check_name(option: str, value: str) -> None:
    """Raise UserError, in one line, unless `value` is fit for the name of a folder, here and in a store."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
        raise UserError(
            f"{_option(option)} {value}: give letters, digits and . _ -, a letter or digit first"
        )


def check_confidence(value: float) -> None:
    """Raise UserError, in one line, unless `value` lies in [0.5, 0.999]."""
    between("confidence", value, 0.5, 0.999)


def symbols(words: list[str]) -> list[str]:
    """Return the words of an option, those joined by commas apart."""
    return [name for word in words for name in word.replace(",", " ").split()]


def window_of(option: str, text: str | None) -> tuple[float, float] | None:
    """Return LOW:HIGH as (low, high), an open end infinite; raises UserError, in one line, if it is none."""
    if text is None:
        return None
    try:
        low, high = text.split(":")
        bounds = (float(low or "-inf"), float(high or "inf"))
    except ValueError:
        bounds = (1.0, 0.0)
    if not bounds[0] < bounds[1] or bounds == (float("-inf"), float("inf")):
        raise UserError(f"--{option} {text}: give LOW:HIGH with LOW < HIGH, as in 1.0:1.7")
    return bounds


def window_text(window: tuple[float, float] | None) -> str | None:
    """Return the text of which `window_of` makes the window, to the last digit."""
    if window is None:
        return None
    return ":".join("" if abs(end) == float("inf") else number_text(end) for end in window)


def number_text(value: float) -> str:
    """Return a number with the digits that tell it from all others, and no more: 8, 1.7, 1234567.5."""
    return repr(float(value)).removesuffix(".0")


def option_text(name: str, value: object) -> str:
    """Return an option as it is given on the command line."""
    return _option(name) if value is True else f"{_option(name)} {value}"


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def refuse_query(name: str, uri: str) -> None:
    """Raise UserError, in one line, for a URI with ?OPTIONS below which other paths will lie."""
    if "?" in uri and "://" in uri:
        raise UserError(
            f"{name} {uri}: takes no ?OPTIONS; where an object store is, tell by "
            "AWS_ENDPOINT_URL and AWS_DEFAULT_REGION"
        )
