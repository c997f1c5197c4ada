"""What the domain of a model flags: crystals that are foreign to HOIP, and errors inside and outside.

    python -m benchmarks.trust.domain --data DATA --models MODELS

The models are those of `trust_coverage.py`.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from benchmarks.common.arguments import RESULTS, add_seeds, data_parser
from benchmarks.trust.changed_crystals import displaced, swapped
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.schema import crystals_table
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.io.atomic import write_json
from emrl_ray.io.parquet import read_table
from emrl_ray.io.paths import resolve
from emrl_ray.io.runtime import hardware_info
from emrl_ray.model import Model

METALS, HALIDES = (32, 50, 82), (9, 17, 35, 53)
IRON, URANIUM, TELLURIUM, OXYGEN = 26, 92, 52, 8
LIMITS = ValidationLimits(max_atoms=1000, max_pairs=400_000, min_distance=0.0)
"""Overlapping sites are not rejected here: they have to be seen by the domain."""
SHARES = tuple(step / 20 for step in range(19))
"""Of the crystals that are left out: those outside the domain, then the least certain."""


def main() -> None:
    """Measure and write the figures."""
    parser = data_parser(__doc__, models="folder of the models")
    add_seeds(parser)
    words = parser.parse_args()
    found: dict[str, Any] = {"machine": hardware_info()}
    for seed in words.seeds:
        model = Model.load(f"{words.models}/HOIP-{seed}")
        found[f"aliens-{seed}"] = aliens(model, words.data, seed)
        print(seed, found[f"aliens-{seed}"], flush=True)
        model = Model.load(f"{words.models}/MPS-FE-{seed}")
        found[f"errors-{seed}"] = errors(model, words.data)
        print(seed, found[f"errors-{seed}"], flush=True)
        write_json(found, resolve(RESULTS / "trust" / "domain.json"))


def aliens(model: Model, data: str, seed: int) -> dict[str, Any]:
    """Return the share flagged of HOIP's held-out rows, and of each kind made from them."""
    held_out = model.held_out
    assert held_out is not None
    table = read_table(f"{data}/hoip.parquet")
    table = table.filter(pc.is_in(table.column("id"), held_out.column("id").combine_chunks()))
    batch = CrystalBatch.from_arrow(table)
    foreign = CrystalBatch.from_arrow(read_table(f"{data}/mps.parquet"))
    kinds = {
        "held out": batch,
        "metal to U": swapped(batch, METALS, URANIUM),
        "metal to Fe": swapped(batch, METALS, IRON),
        "halide to Te": swapped(batch, HALIDES, TELLURIUM),
        "halide to O": swapped(batch, HALIDES, OXYGEN),
        "volume + 25 %": batch._replace(lattice=batch.lattice * 1.25 ** (1 / 3)),
        "volume - 25 %": batch._replace(lattice=batch.lattice * 0.75 ** (1 / 3)),
        "displaced by 0.5 A": displaced(batch, 0.5, seed),
        "crystals of MPS": foreign,
    }
    return {name: flagged(model, crystals) for name, crystals in kinds.items()}


def flagged(model: Model, batch: CrystalBatch) -> dict[str, Any]:
    """Return the share of crystals outside the domain or rejected, and the reasons by their codes."""
    names = [str(row) for row in range(batch.n_crystals)]
    table = crystals_table(batch, names, names)
    found, rejects = model.predict(table, LIMITS)
    reasons = _reasons(found)
    share = (reasons.total() + len(rejects)) / batch.n_crystals
    return {
        "rows": batch.n_crystals,
        "flagged": round(share, 4),
        "rejected": len(rejects),
        "reasons": dict(reasons.most_common()),
    }


def errors(model: Model, data: str) -> dict[str, Any]:
    """Return the errors of a model of MPS on the rows of MPL that MPS has not, inside and outside."""
    known = read_table(f"{data}/mps.parquet", ["id"]).column("id").combine_chunks()
    table = read_table(f"{data}/mpl.parquet")
    table = table.filter(pc.invert(pc.is_in(table.column("id"), known)))
    target = model.card.target
    table = table.filter(pc.is_valid(table.column(target)))
    found, _ = model.predict(table, LIMITS)
    true, predicted = (found.column(name).to_numpy() for name in (target, "prediction"))
    error = np.abs(true - predicted)
    inside = found.column("in_domain").to_numpy()
    width = found.column("upper").to_numpy() - found.column("lower").to_numpy()
    outside_by = _reasons(found)
    return {
        "rows": len(error),
        "outside": round(float(1 - inside.mean()), 4),
        "mae_inside": round(float(error[inside].mean()), 4),
        "mae_outside": round(float(error[~inside].mean()), 4),
        "ratio": round(float(error[~inside].mean() / error[inside].mean()), 3),
        "mae_by_reason": {
            code: round(float(error[matching(found, code)].mean()), 4) for code in outside_by
        },
        "rows_by_reason": dict(outside_by.most_common()),
        "mae_by_share_left_out": rejection_curve(error, np.lexsort((width, ~inside))),
    }


def _reasons(found: pa.Table) -> Counter[str]:
    """Return how many rows are outside the domain by the code of the reason."""
    return Counter(
        text.split()[0] for text in found.column("domain_reason").drop_null().to_pylist()
    )


def matching(found: pa.Table, code: str) -> NDArray[np.bool_]:
    """Return which rows are outside for a reason of this code."""
    return pc.starts_with(found.column("domain_reason"), code).fill_null(False).to_numpy()


def rejection_curve(error: NDArray[np.float64], order: NDArray[np.int64]) -> dict[str, float]:
    """Return the mean error of the first crystals in this order, by the share left out."""
    kept = {share: order[: round((1 - share) * len(order))] for share in SHARES}
    return {f"{share:g}": round(float(error[rows].mean()), 4) for share, rows in kept.items()}


if __name__ == "__main__":
    main()
