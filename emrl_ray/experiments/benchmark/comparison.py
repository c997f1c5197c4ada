"""Compares the methods of the benchmark: with each other on the same splits, and with the paper."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from emrl_ray.experiments.benchmark.datasets import DATASETS
from emrl_ray.experiments.benchmark.methods import METHODS
from emrl_ray.experiments.benchmark.published import PublishedScores, published_scores
from emrl_ray.experiments.benchmark.results import Result
from emrl_ray.experiments.benchmark.statistics import (
    MIN_SPLITS,
    PairedTest,
    corrected_resampled_t_test,
    holm,
)
from emrl_ray.training.evaluation import Baselines, Scores

SPLITS = ("random", "formula")
REFERENCE = "EMRL-GB"
"""The method that every other is tested against."""
BASELINE = "CGCNN"
"""The method whose error the reference reduces."""
PAPER_SPLIT = "random"
"""The kind of split that the paper's figures are for."""


class Spread(NamedTuple):
    """A score over the repeats."""

    mean: float
    sd: float
    """Sample standard deviation, NaN for a single repeat."""
    n: int


class BaselineSpread(NamedTuple):
    """Scores of a predictor that sees no structure."""

    mae: Spread
    r2: Spread


class MethodScores(NamedTuple):
    """One method on one kind of split of a data set."""

    method: str
    results: tuple[Result, ...]
    """By seed, one each."""
    mae: Spread
    r2: Spread
    train_seconds: float | None
    """Median over the repeats, by the clock."""
    train_cpu_seconds: float | None
    """Median over the repeats, of all threads."""
    predict_per_second: float | None
    """Median over the repeats, crystals a second."""
    mixed: tuple[str, ...]
    """What the repeats do not have in common: a line a setting, with the seeds of each value."""
    paper: PublishedScores | None
    worse_mae: bool
    """Whether the mean is above the paper's by more than two of the paper's sd."""
    worse_r2: bool
    """Whether the mean is below the paper's by more than two of the paper's sd."""
    against_reference: PairedTest | None
    """None for the reference itself, and where there is none."""
    against_best: PairedTest | None
    """None for the best itself."""


class Comparison(NamedTuple):
    """All methods on one kind of split of a data set."""

    dataset: str
    target: str
    unit: str
    split: str  # these four tell comparisons apart
    methods: tuple[MethodScores, ...]
    best: str
    """The method of the lowest mean MAE, among those with splits enough to be tested if any has."""
    floor_mean: BaselineSpread | None
    """Predicting the mean of the training targets."""
    floor_composition: BaselineSpread | None
    """Predicting the mean of the training rows of the same formula."""
    error_reduction: Spread | None
    """(MAE_CGCNN - MAE_EMRL-GB) / MAE_CGCNN, of mean MAEs over the splits that both have.

    Its sd is that of the quotients of single splits.
    """
    paper_error_reduction: float | None
    """The same, from the paper's mean MAEs."""


def compare(results: Sequence[Result]) -> list[Comparison]:
    """Return a comparison for each data set and kind of split, in the order they are shown.

    Data sets and methods come in the order of the protocol's registries, others after them by name.
    """
    groups = defaultdict(list)
    for result in results:
        groups[result.dataset, result.target, result.unit, result.split].append(result)
    keys = sorted(
        groups, key=lambda key: (rank_of(key[0], DATASETS), *key[1:3], rank_of(key[3], SPLITS))
    )
    return [_compare(groups[key]) for key in keys]


def rank_of(name: str, order: Iterable[str]) -> tuple[int, str]:
    """Return a key that sorts by the given order; what is not in it comes last, by name."""
    known = list(order)
    return (known.index(name) if name in known else len(known), name)


def spread(values: Iterable[float]) -> Spread:
    """Return mean and sample standard deviation of at least one value."""
    array = np.array(list(values))
    sd = float(array.std(ddof=1)) if len(array) > 1 else math.nan
    return Spread(float(array.mean()), sd, len(array))


def _compare(results: list[Result]) -> Comparison:
    """Return the comparison of results that have data set, target and kind of split in common."""
    by_method: dict[str, list[Result]] = defaultdict(list)
    for result in sorted(results, key=lambda result: result.seed):
        by_method[result.method].append(result)
    names = sorted(by_method, key=lambda name: rank_of(name, METHODS))
    maes = {name: spread(result.mae for result in by_method[name]) for name in names}
    tested = [name for name in names if maes[name].n >= MIN_SPLITS] or names
    best = min(tested, key=lambda name: maes[name].mean)
    tests = _tests(by_method, names, best)
    first = results[0]
    of_split = {result.seed: result.floors for result in results if result.floors}
    return Comparison(
        dataset=first.dataset,
        target=first.target,
        unit=first.unit,
        split=first.split,
        methods=tuple(
            _method_scores(
                name,
                by_method[name],
                maes[name],
                tests.get((name, REFERENCE)),
                tests.get((name, best)),
            )
            for name in names
        ),
        best=best,
        floor_mean=_floor(of_split.values(), lambda floors: floors.mean),
        floor_composition=_floor(of_split.values(), lambda floors: floors.composition),
        error_reduction=_error_reduction(by_method),
        paper_error_reduction=_paper_error_reduction(first.dataset, first.split),
    )


def _method_scores(
    method: str,
    results: list[Result],
    mae: Spread,
    against_reference: PairedTest | None,
    against_best: PairedTest | None,
) -> MethodScores:
    r2 = spread(result.r2 for result in results)
    paper = (
        published_scores(results[0].dataset, method) if results[0].split == PAPER_SPLIT else None
    )
    return MethodScores(
        method=method,
        results=tuple(results),
        mae=mae,
        r2=r2,
        train_seconds=_median(result.train_seconds for result in results),
        train_cpu_seconds=_median(result.train_cpu_seconds for result in results),
        predict_per_second=_median(result.predict_per_second for result in results),
        mixed=tuple(_mixed_settings(results)),
        paper=paper,
        worse_mae=paper is not None and mae.mean > paper.mae_mean + 2 * paper.mae_sd,
        worse_r2=paper is not None and r2.mean < paper.r2_mean - 2 * paper.r2_sd,
        against_reference=against_reference,
        against_best=against_best,
    )


def _tests(
    by_method: dict[str, list[Result]], names: list[str], best: str
) -> dict[tuple[str, str], PairedTest]:
    """Return the tests of each method against the reference and the best, Holm over all of them.

    Best against reference and reference against best are one comparison, counted once.
    """
    others = [other for other in dict.fromkeys((REFERENCE, best)) if other in names]
    pairs = [(name, other) for other in others for name in names if name != other]
    tests = {pair: _paired_test(by_method[pair[0]], by_method[pair[1]]) for pair in pairs}
    p_values = {frozenset(pair): test.p for pair, test in tests.items() if test.p is not None}
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return {
        pair: test._replace(p_holm=corrected.get(frozenset(pair))) for pair, test in tests.items()
    }


def _paired_test(mine: list[Result], others: list[Result]) -> PairedTest:
    pairs = _same_splits(mine, others)
    differences = np.array([one.mae - other.mae for one, other in pairs])
    p = None
    if len(pairs) >= MIN_SPLITS:
        n_train, n_test = np.mean([(one.n_train, one.n_test) for one, _ in pairs], axis=0)
        p = corrected_resampled_t_test(differences, n_train, n_test)
    difference = float(differences.mean()) if len(pairs) else math.nan
    return PairedTest(others[0].method, len(pairs), difference, p, None)


def _same_splits(mine: list[Result], others: list[Result]) -> list[tuple[Result, Result]]:
    """Return the results of both by seed; the same seed on other data is another split."""
    other_of = {(other.seed, other.n_train, other.n_test): other for other in others}
    keys = [(one.seed, one.n_train, one.n_test) for one in mine]
    return [(one, other_of[key]) for one, key in zip(mine, keys, strict=True) if key in other_of]


def _error_reduction(by_method: dict[str, list[Result]]) -> Spread | None:
    pairs = _same_splits(by_method.get(BASELINE, []), by_method.get(REFERENCE, []))
    if not pairs:
        return None
    base, mine = np.array([(one.mae, other.mae) for one, other in pairs]).T
    if not base.all():  # nothing to reduce
        return None
    quotients = spread((base - mine) / base)
    return quotients._replace(mean=float((base.mean() - mine.mean()) / base.mean()))


def _paper_error_reduction(dataset: str, split: str) -> float | None:
    base, mine = published_scores(dataset, BASELINE), published_scores(dataset, REFERENCE)
    if base is None or mine is None or split != PAPER_SPLIT:
        return None
    return (base.mae_mean - mine.mae_mean) / base.mae_mean


def _mixed_settings(results: list[Result]) -> Iterable[str]:
    """Yield a line for each setting in which the repeats differ."""
    settings = [
        {"epochs": result.epochs, "crystals": result.n_train + result.n_test}
        | dict(result.hyperparameters)
        for result in results
    ]
    for name in dict.fromkeys(name for setting in settings for name in setting):
        if name == "seed":  # is what repeats are for
            continue
        seeds = defaultdict(list)
        for result, setting in zip(results, settings, strict=True):
            value = json.dumps(setting[name]) if name in setting else "not given"
            seeds[value].append(str(result.seed))
        if len(seeds) > 1:
            yield f"{name} " + ", ".join(
                f"{value} (seed {', '.join(of_value)})" for value, of_value in seeds.items()
            )


def _floor(
    every: Iterable[Baselines], which: Callable[[Baselines], Scores]
) -> BaselineSpread | None:
    scores = [which(floors) for floors in every]
    if not scores:
        return None
    return BaselineSpread(
        spread(score.mae for score in scores), spread(score.r2 for score in scores)
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
