"""Writes the tables of the benchmark from its result files: Markdown, CSV and HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from emrl_ray.experiments.benchmark.comparison import Comparison, MethodScores, compare
from emrl_ray.experiments.benchmark.results import read_results
from emrl_ray.experiments.benchmark.statistics import PairedTest
from emrl_ray.io.atomic import write_bytes, write_csv
from emrl_ray.io.console import log
from emrl_ray.io.paths import resolve
from emrl_ray.reports.benchmark.page import page
from emrl_ray.reports.benchmark.text import PREFACE, Section, section


def write_tables(results: str, out: str) -> None:
    """Write benchmark.md, benchmark.csv and benchmark.html into the folder `out`.

    `results` is the folder or URI with the results; a JSON file below it that is none is named in a
    line on standard output. The same results give the same files, byte for byte. Raises
    FileNotFoundError if there are no results, and ImportError without matplotlib, which the HTML
    alone needs: the other two are written before.
    """
    found, skipped = read_results(results)
    for line in skipped:
        log(f"benchmark: {line}")
    comparisons = compare(found)
    folder = resolve(out)
    write_bytes(markdown(comparisons).encode(), folder / "benchmark.md")
    write_csv(tidy(comparisons), folder / "benchmark.csv")
    write_bytes(page(comparisons).encode(), folder / "benchmark.html")


def markdown(comparisons: Sequence[Comparison]) -> str:
    """Return all comparisons as Markdown, a section each."""
    parts = ["# Benchmark", *PREFACE]
    for comparison in comparisons:
        shown = section(comparison)
        notes = "\n".join(f"- {note}" for note in shown.notes)
        parts += [f"## {shown.title}", shown.intro, _table(shown), notes]
    return "\n\n".join(parts) + "\n"


def tidy(comparisons: Sequence[Comparison]) -> pa.Table:
    """Return a table with a row for each method on each kind of split of a data set."""
    rows = [_row(comparison, scores) for comparison in comparisons for scores in comparison.methods]
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


_TEXTS = ("dataset", "split", "method", "target", "unit", "seeds", "epochs", "mixed_settings")
_COUNTS = ("repeats",)
_FLAGS = ("worse_mae_than_paper", "worse_r2_than_paper")
_NUMBERS = (
    *("mae_mean", "mae_sd", "r2_mean", "r2_sd"),
    *("paper_mae_mean", "paper_mae_sd", "paper_r2_mean", "paper_r2_sd"),
    *("train_seconds", "train_cpu_seconds", "predict_per_second"),
    *("floor_mean_mae", "floor_mean_r2", "floor_composition_mae", "floor_composition_r2"),
)
_TEST = ("other", "splits", "mae_difference", "p", "p_holm")
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in _TEXTS),
        *((name, pa.int64()) for name in _COUNTS),
        *((name, pa.float64()) for name in _NUMBERS),
        *((name, pa.bool_()) for name in _FLAGS),
        *(
            (f"against_{which}_{name}", kind)
            for which in ("reference", "best")
            for name, kind in zip(
                _TEST,
                (pa.string(), pa.int64(), pa.float64(), pa.float64(), pa.float64()),
                strict=True,
            )
        ),
    ]
)


def _row(comparison: Comparison, scores: MethodScores) -> dict[str, Any]:
    paper = scores.paper._asdict() if scores.paper else {}
    epochs = sorted({result.epochs for result in scores.results if result.epochs is not None})
    row = {
        "dataset": comparison.dataset,
        "split": comparison.split,
        "method": scores.method,
        "target": comparison.target,
        "unit": comparison.unit,
        "seeds": " ".join(str(result.seed) for result in scores.results),
        "epochs": " ".join(map(str, epochs)),
        "mixed_settings": "; ".join(scores.mixed),
        "repeats": scores.mae.n,
        "mae_mean": scores.mae.mean,
        "mae_sd": scores.mae.sd,
        "r2_mean": scores.r2.mean,
        "r2_sd": scores.r2.sd,
        **{f"paper_{name}": value for name, value in paper.items()},
        "train_seconds": scores.train_seconds,
        "train_cpu_seconds": scores.train_cpu_seconds,
        "predict_per_second": scores.predict_per_second,
        "worse_mae_than_paper": scores.worse_mae if paper else None,
        "worse_r2_than_paper": scores.worse_r2 if paper else None,
        **_test("reference", scores.against_reference),
        **_test("best", scores.against_best),
    }
    floors = (("mean", comparison.floor_mean), ("composition", comparison.floor_composition))
    for name, floor in floors:
        if floor:
            row |= {f"floor_{name}_mae": floor.mae.mean, f"floor_{name}_r2": floor.r2.mean}
    missing = {key for key, value in row.items() if isinstance(value, float) and math.isnan(value)}
    return row | dict.fromkeys(missing)


def _test(which: str, test: PairedTest | None) -> dict[str, Any]:
    values = tuple(test) if test else ()
    return {f"against_{which}_{name}": v for name, v in zip(_TEST, values, strict=False)}


def _table(shown: Section) -> str:
    lines = [shown.head, ("---",) * len(shown.head), *shown.rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in cells)} |" for cells in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
