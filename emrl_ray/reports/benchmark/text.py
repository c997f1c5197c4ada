"""The words and tables of the benchmark, whatever they are written as."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from emrl_ray.experiments.benchmark.comparison import (
    BASELINE,
    PAPER_SPLIT,
    REFERENCE,
    BaselineSpread,
    Comparison,
    MethodScores,
    Spread,
)
from emrl_ray.experiments.benchmark.statistics import MIN_SPLITS, PairedTest

SIGNIFICANT = 0.05
NOTHING = "–"
MIXED, WORSE = "†", "‡"

PREFACE = (
    "MAE and R² on test rows, mean ± sample standard deviation (number of splits), beside the paper's "
    "(Na 2022, SI Tables 4 and 5: ten random splits). Seconds and crystals/s are medians over the "
    "splits, on the machine that each section names.",
    f"The method of a row is better or worse than another where p < {SIGNIFICANT:g}, by the corrected "
    "resampled t-test on the differences of MAE on the same splits (Nadeau and Bengio 2003), "
    "two-sided, with Holm's correction over the comparisons of a table; it needs "
    f"{MIN_SPLITS} common splits or more. The best is chosen by the same "
    "errors, so that p against it is somewhat too small.",
)


class Section(NamedTuple):
    """What is shown of one kind of split of a data set."""

    title: str
    anchor: str
    intro: str
    head: tuple[str, ...]
    """Of the columns."""
    rows: tuple[tuple[str, ...], ...]
    """Cells of each method."""
    notes: tuple[str, ...]
    """Lines below the table."""


def section(comparison: Comparison) -> Section:
    """Return what is shown of a comparison."""
    beside_paper = any(scores.paper for scores in comparison.methods)
    head = [
        "method",
        f"MAE, {comparison.unit}" if comparison.unit else "MAE",
        *(["MAE, paper"] if beside_paper else []),
        "R²",
        *(["R², paper"] if beside_paper else []),
        "s to train",
        "crystals/s",
        f"against {REFERENCE}",
        f"against the best ({comparison.best})",
    ]
    rows = [_row(scores, comparison, beside_paper) for scores in comparison.methods]
    return Section(
        title=f"{comparison.dataset}, split {_split_words(comparison.split)}",
        anchor=re.sub(r"\W+", "-", "-".join(comparison[:4])),
        intro=_intro(comparison),
        head=tuple(head),
        rows=tuple(tuple(row) for row in rows),
        notes=tuple(_notes(comparison, beside_paper)),
    )


def plus_minus(value: Spread, count: bool = False) -> str:
    """Return for example ``0.142 ± 0.003 (5)``; without the spread where there is one repeat."""
    text = f"{value.mean:.3f}"
    if not math.isnan(value.sd):
        text += f" ± {value.sd:.3f}"
    return f"{text} ({value.n})" if count else text


def _row(scores: MethodScores, comparison: Comparison, beside_paper: bool) -> list[str]:
    paper = scores.paper
    mae = plus_minus(scores.mae, count=True) + f" {WORSE}" * scores.worse_mae
    r2 = plus_minus(scores.r2) + f" {WORSE}" * scores.worse_r2
    paper_mae = f"{paper.mae_mean:.3f} ± {paper.mae_sd:.3f}" if paper else NOTHING
    paper_r2 = f"{paper.r2_mean:.3f} ± {paper.r2_sd:.3f}" if paper else NOTHING
    return [
        scores.method + f" {MIXED}" * bool(scores.mixed),
        mae,
        *([paper_mae] if beside_paper else []),
        r2,
        *([paper_r2] if beside_paper else []),
        _short(scores.train_seconds),
        _short(scores.predict_per_second),
        _verdict(scores.against_reference),
        _verdict(scores.against_best),
    ]


def _verdict(test: PairedTest | None) -> str:
    if test is None:
        return NOTHING
    if test.p_holm is None:
        return f"too few splits ({test.splits})"
    p = "p < 0.001" if test.p_holm < 0.001 else f"p = {test.p_holm:.3f}"
    if test.p_holm >= SIGNIFICANT:
        return f"no, {p}"
    return f"{'worse' if test.difference > 0 else 'better'}, {p}"


def _short(value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _split_words(split: str) -> str:
    return {"random": "at random", "formula": "by formula"}.get(split, split)


def _intro(comparison: Comparison) -> str:
    sizes = {
        (result.n_train, result.n_test)
        for scores in comparison.methods
        for result in scores.results
    }
    train, test = (_range(column) for column in zip(*sizes, strict=True))
    return (
        f"{comparison.target.replace('_', ' ')}{' in ' * bool(comparison.unit)}{comparison.unit}; "
        f"{train} crystals to train, {test} to test."
    )


def _range(numbers: Iterable[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _notes(comparison: Comparison, beside_paper: bool) -> Iterable[str]:
    floors = (
        ("mean of the training targets", comparison.floor_mean),
        ("mean of the same composition", comparison.floor_composition),
    )
    for name, floor in floors:
        if floor:
            yield f"Floor, {name}: {_floor(floor, comparison.unit)}."
    if {BASELINE, REFERENCE} <= {scores.method for scores in comparison.methods}:
        yield _reduction(comparison)
    if not beside_paper:
        yield _why_no_paper(comparison)
    for scores in comparison.methods:
        if scores.mixed:
            yield f"{MIXED} {scores.method}, mixed settings: {'; '.join(scores.mixed)}."
    worse = [
        f"{scores.method} ({', '.join(names)})"
        for scores in comparison.methods
        if (names := ["MAE"] * scores.worse_mae + ["R²"] * scores.worse_r2)
    ]
    if worse:
        yield f"{WORSE} worse than the paper's mean by more than two of its sd: {', '.join(worse)}."
    yield _epochs(comparison.methods)
    yield from _machines(comparison.methods)


def _floor(floor: BaselineSpread, unit: str) -> str:
    mae = f"{plus_minus(floor.mae)} {unit}".rstrip()
    return f"MAE {mae}, R² {plus_minus(floor.r2)}"


def _reduction(comparison: Comparison) -> str:
    reduction = comparison.error_reduction
    if reduction is None:
        ours = "no split that both have"
    else:
        sd = "" if math.isnan(reduction.sd) else f" ± {100 * reduction.sd:.1f}"
        splits = f"{reduction.n} common split{'s' * (reduction.n > 1)}"
        ours = f"{100 * reduction.mean:.1f}{sd} % ({splits})"
    paper = comparison.paper_error_reduction
    beside = "" if paper is None else f"; the paper {100 * paper:.1f} %"
    return f"Error reduction of {REFERENCE} over {BASELINE}: {ours}{beside}."


def _why_no_paper(comparison: Comparison) -> str:
    if comparison.split != PAPER_SPLIT:
        return "The paper has random splits alone."
    if comparison.dataset == "mpb":
        return (
            "mpb is a set of its own: which crystals the paper's MPB holds is unknown, so that nothing "
            "compares with it."
        )
    return "The paper has no figures for these."


def _epochs(methods: Sequence[MethodScores]) -> str:
    of_epochs: dict[str, list[str]] = defaultdict(list)
    for scores in methods:
        counts = sorted({result.epochs for result in scores.results}, key=lambda n: n or 0)
        words = " and ".join("none" if count is None else f"{count:,}" for count in counts)
        of_epochs[words].append(scores.method)
    if len(of_epochs) == 1:
        return f"Epochs: {next(iter(of_epochs))}."
    return (
        "Epochs: " + "; ".join(f"{n} ({', '.join(names)})" for n, names in of_epochs.items()) + "."
    )


def _machines(methods: Sequence[MethodScores]) -> Iterable[str]:
    of_machine: dict[str, list[str]] = defaultdict(list)
    for scores in methods:
        for result in scores.results:
            words = ", ".join(
                f"{value} CPUs" if key == "cpus" else str(value)
                for key, value in result.machine.items()
            )
            if words and scores.method not in of_machine[words]:
                of_machine[words].append(scores.method)
    if len(of_machine) == 1:
        yield f"Machine: {next(iter(of_machine))}."
    elif of_machine:
        machines = "; ".join(f"{words} ({', '.join(names)})" for words, names in of_machine.items())
        yield f"Machines, whose seconds do not compare: {machines}."
