"""What trust costs: predictions with everything on beside the bare prediction, and duplicates found.

    python -m benchmarks.trust.cost --data DATA --model MODEL --out FOLDER

Slices of the 110,534 candidates go through both ways in turn, in one process on one thread. Then the verb
`screen` runs on them in turn with every filter on and with a model of the first format, which knows neither
domain nor structures, nor intervals here.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.common.arguments import RESULTS, data_parser
from benchmarks.trust.changed_crystals import in_other_cells
from emrl_ray.commands.screen.command import screen
from emrl_ray.config import ScreenConfig
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.geometry.closest_contacts import find_contacts
from emrl_ray.crystals.matching.matcher import StructureIndex, group_duplicates
from emrl_ray.crystals.validation import ValidationLimits, validate
from emrl_ray.io.atomic import write_json
from emrl_ray.io.parquet import read_table
from emrl_ray.io.paths import resolve
from emrl_ray.io.runtime import hardware_info, limited_threads
from emrl_ray.model import Model, ModelTables
from emrl_ray.model.uncertainty import Uncertainty

LIMITS = ValidationLimits(max_atoms=1000, max_pairs=400_000, min_distance=0.3)
ROWS = 4096
REPEATS = 3


def main() -> None:
    """Measure and write the figures."""
    parser = data_parser(__doc__, model="folder of the model", out="folder for the runs")
    parser.add_argument("--window", default="-2:-1.5", help="LOW:HIGH of the screen")
    words = parser.parse_args()
    found: dict[str, Any] = {"machine": hardware_info()}
    found["duplicates"] = duplicates(words.data)
    print(found["duplicates"], flush=True)
    found["seconds"] = compared(words.model, f"{words.data}/candidates.parquet")
    print(found["seconds"], flush=True)
    found["screen"] = screens(
        words.model, f"{words.data}/candidates.parquet", words.window, words.out
    )
    print(found["screen"], flush=True)
    write_json(found, resolve(RESULTS / "trust" / "cost.json"))


def duplicates(data: str) -> dict[str, Any]:
    """Return how many of HOIP's crystals are found again in other cells, and taken for each other."""
    batch = CrystalBatch.from_arrow(read_table(f"{data}/hoip.parquet"))
    contacts = find_contacts(batch)
    own = group_duplicates(batch, contacts)
    copies = in_other_cells(batch)
    began = time.perf_counter()
    found = StructureIndex(batch, contacts).find(copies, find_contacts(copies))
    return {
        "crystals": batch.n_crystals,
        "found_as_themselves": int((found == np.arange(batch.n_crystals)).sum()),
        "false_among_their_own": int((own != np.arange(batch.n_crystals)).sum()),
        "seconds": round(time.perf_counter() - began, 1),
    }


def compared(uri: str, library: str) -> dict[str, Any]:
    """Return the seconds of both ways over the whole library, and their ratio."""
    with limited_threads(1):
        model = Model.load(uri)
        candidates = read_table(library)
        first = candidates.slice(0, 64)
        bare(model, first)
        model.predict(first, LIMITS)
        seconds = {"bare": 0.0, "with trust": 0.0}
        for start in range(0, candidates.num_rows, ROWS):
            partition = candidates.slice(start, ROWS)
            for name, way in (("bare", bare), ("with trust", Model.predict)):
                began = time.process_time()
                way(model, partition, LIMITS)
                seconds[name] += time.process_time() - began
    return {
        "rows": candidates.num_rows,
        **{name: round(value, 2) for name, value in seconds.items()},
        "ratio": round(seconds["with trust"] / seconds["bare"], 3),
    }


def screens(model: str, library: str, window: str, out: str) -> dict[str, Any]:
    """Return the seconds of screens with and without trust, and what the last with it left."""
    first_format(model, f"{out}/bare-model")
    plain: dict[str, Any] = {"model": f"{out}/bare-model", "maximize": True}
    trusted: dict[str, Any] = {"model": model, "target_window": window, "in_domain": True}
    trusted |= {"exclude_known": True, "per_system": 3}
    seconds: dict[str, list[float]] = {"bare": [], "with trust": []}
    for turn in range(REPEATS + 1):
        for name, options in (("bare", plain), ("with trust", trusted)):
            run = f"{out}/{name.replace(' ', '-')}"
            config = ScreenConfig(crystals=library, out=run, overwrite=True, **options)
            began = time.perf_counter()
            result = screen(config)
            if turn:  # the first pays for the start of Ray
                seconds[name].append(round(time.perf_counter() - began, 2))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "seconds": seconds,
        "ratio": round(medians["with trust"] / medians["bare"], 3),
        "report_bytes": resolve(result.report).info.size,
        "counts": result.manifest["counts"],
        "seconds_by_stage": result.manifest["seconds"],
        "peak_memory_bytes": result.manifest["peak_memory_bytes"],
    }


def first_format(uri: str, out: str) -> None:
    """Write a model as the first format had it, and without calibration."""
    model = Model.load(uri)
    reference = model.reference.select(["id", "formula", model.card.target, "embedding"])
    Model(
        replace(model.card, format_version=1),
        model.representation,
        model.heads,
        Uncertainty({}, None),
        ModelTables(lambda: reference, lambda: None),
        model.state,
        model.elements_csv,
    ).save(out)


def bare(model: Model, crystals: pa.Table, limits: ValidationLimits = LIMITS) -> None:
    """Predict by the best head, and nothing else."""
    good, _ = validate(crystals, limits._replace(cutoff=model.cutoff), "")
    embeddings = model.embed(CrystalBatch.from_arrow(good))
    model.heads[model.card.best_head].predict(embeddings[~np.isnan(embeddings[:, 0])])


if __name__ == "__main__":
    main()
