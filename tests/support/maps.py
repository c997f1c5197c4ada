"""Two models and a library to draw maps of."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from emrl_ray.config import MapConfig
from tests.support.models import make_model, random_crystals, write_library

MADE = ("map.html", "map.parquet", "map.png", "map.rejects.csv")
ROWS = 50
HOSTILE = "</script><b>"


def write_inputs(folder: Path) -> None:
    """Write two models and a library in two files into a folder."""
    make_model(folder / "emrl", seed=0)
    make_model(folder / "gnn", seed=1)
    crystals = random_crystals(70, 3)
    family = pa.array([HOSTILE if row % 2 else None for row in range(70)])
    write_library(folder / "library", crystals.append_column("family", family), [30, 40])


def config(folder: Path, **options) -> MapConfig:
    """Return the configuration of the map of both models, but for `options`."""
    given = {"models": [str(folder / "emrl"), str(folder / "gnn")], "out": str(folder / "out")}
    given |= {"crystals": str(folder / "library"), "rows": ROWS, "perplexity": 5, "threads": 1}
    return MapConfig(**{**given, **options})
