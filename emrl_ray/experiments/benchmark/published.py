"""What the paper reports of each method (Na 2022, SI Tables 4 and 5)."""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources
from typing import NamedTuple


class PublishedScores(NamedTuple):
    """Test scores over the paper's ten random 80/20 splits."""

    mae_mean: float
    """Mean absolute error: eV for a band gap, eV/atom for a formation energy."""
    mae_sd: float
    r2_mean: float
    r2_sd: float


def published_scores(dataset: str, method: str) -> PublishedScores | None:
    """Return the paper's scores of a method on a data set; None where it gives none.

    Names are as in the paper, capitals included: HOIP, MPS-FE, ... and GCN, EMRL-GB, ... The
    paper's MPB is left out: which crystals are in it is unknown, so nothing compares with it.
    """
    return _tables().get((dataset, method))


@cache
def _tables() -> dict[tuple[str, str], PublishedScores]:
    text = (
        resources.files("emrl_ray.experiments.benchmark")
        .joinpath("data/paper_tables.csv")
        .read_text()
    )
    return {
        (row["dataset"], row["method"]): PublishedScores(
            *(float(row[name]) for name in PublishedScores._fields)
        )
        for row in csv.DictReader(text.splitlines())
        if row["mae_mean"]
    }
