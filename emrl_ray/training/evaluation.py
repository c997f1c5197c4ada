"""How good a prediction is: splits, metrics and the floors that a model has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.config.errors import UserError
from emrl_ray.crystals.elements import SYMBOLS

MIN_ROWS = 10

Formulas: TypeAlias = Sequence[str | None] | pa.Array | pa.ChunkedArray
"""Reduced formulas of the rows; all rows without one count as the same composition."""


class Split(NamedTuple):
    """Positions of the rows of each part, ascending; every row is in exactly one."""

    train: NDArray[np.int64]
    calibration: NDArray[np.int64]
    test: NDArray[np.int64]


class Scores(NamedTuple):
    """Accuracy on labelled rows."""

    mae: float
    """Mean absolute error, in the target's unit."""
    r2: float
    """Coefficient of determination."""


class Baselines(NamedTuple):
    """What is reached without looking at the structure."""

    mean: Scores
    """Predicting the mean of the training targets."""
    composition: Scores
    """Predicting the mean of the training rows of the same formula, or of all where there is none."""


def split_rows(
    rows: int | Formulas,
    test: float = 0.0,
    calibration: float = 0.0,
    kind: Literal["random", "formula"] = "random",
    seed: int = 0,
) -> Split:
    """Split rows, given by their number or their formulas, into training, calibration and test.

    `test` and `calibration` are shares of all rows, exact by rounding where `kind` is "random". With
    "formula" a composition is never divided: compositions are drawn one by one, and one so large that
    it would carry its part further past its share than it is short of it stays in training. The test rows do not depend on the calibration share. Raises
    UserError, in one line, if there are fewer than 10 rows or a part would be empty.
    """
    count = rows if isinstance(rows, int) else len(rows)
    if count < MIN_ROWS:
        raise UserError(f"cannot split {count} rows: at least {MIN_ROWS} are needed")
    for name, share in (("test", test), ("calibration", calibration)):
        if not 0 <= share < 1:
            raise UserError(f"{name} share {share}: must lie in [0, 1)")
    if not test + calibration < 1:
        raise UserError(f"test share {test} and calibration share {calibration} leave no training")

    if kind == "random":
        groups = np.arange(count)
    elif kind == "formula" and not isinstance(rows, int):
        groups = _codes(rows)
    elif kind == "formula":
        raise UserError("a split by formula needs the formulas of the rows")
    else:
        raise UserError(f"split {kind!r}: choose from random, formula")

    sizes = np.bincount(groups)
    order = np.random.default_rng(seed).permutation(len(sizes))
    tested = _fill(order, sizes, round(count * test))
    calibrated = _fill(order[~np.isin(order, tested)], sizes, round(count * calibration))
    part_of_group = np.zeros(len(sizes), dtype=np.int64)
    part_of_group[calibrated] = 1
    part_of_group[tested] = 2
    train, held, scored = (np.flatnonzero(part_of_group[groups] == part) for part in range(3))
    shares = (("training", train, 1.0), ("calibration", held, calibration), ("test", scored, test))
    for name, part, share in shares:
        if share > 0 and len(part) == 0:
            raise UserError(
                f"shares {test} for test and {calibration} for calibration leave no {name} rows "
                f"in a {kind} split of {count} rows ({len(sizes)} groups)"
            )
    return Split(train, held, scored)


def _codes(formulas: Formulas) -> NDArray[np.int64]:
    """Return (n,) integers, equal where the formulas are, numbered by first appearance."""
    if not isinstance(formulas, pa.Array | pa.ChunkedArray):
        formulas = pa.array(formulas, pa.string())
    if isinstance(formulas, pa.ChunkedArray):
        formulas = formulas.combine_chunks()
    return formulas.fill_null("").dictionary_encode().indices.to_numpy().astype(np.int64)


def _fill(order: NDArray[np.int64], sizes: NDArray[np.int64], wanted: int) -> list[int]:
    """Return the groups, taken in `order`, each of which brings a part nearer to `wanted` rows."""
    taken: list[int] = []
    missing = wanted
    for group in order.tolist():
        if missing <= 0:
            break
        if abs(missing - sizes[group]) < missing:
            taken.append(group)
            missing -= int(sizes[group])
    return taken


def mae(predictions: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    """Return the mean absolute error, in the unit of the targets."""
    return float(np.abs(predictions - targets).mean())


def r2(predictions: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    """Return the coefficient of determination, 1 - Σ(y - p)² / Σ(y - ȳ)².

    Where all targets are equal it is 1 for exact predictions and 0 for any other.
    """
    if (targets == targets[0]).all():
        return float((predictions == targets).all())
    residual = ((targets - predictions) ** 2).sum()
    return float(1 - residual / ((targets - targets.mean()) ** 2).sum())


def score(predictions: NDArray[np.float64], targets: NDArray[np.float64]) -> Scores:
    """Return MAE and R² of predictions (n,) for targets (n,)."""
    return Scores(mae(predictions, targets), r2(predictions, targets))


def fraction_within(
    lower: NDArray[np.float64], upper: NDArray[np.float64], targets: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return (n,), whether each interval, its ends included, holds the target."""
    return (lower <= targets) & (targets <= upper)


def by_element(
    rows: pa.Table, targets: NDArray[np.float64], present: NDArray[np.bool_]
) -> pa.Table:
    """Return a row an element, the worst MAE first: how the crystals with it are predicted.

    `rows` have prediction, lower and upper (null without intervals), n of them; `present`
    (n, 119) tells their elements by atomic number. Columns: element, rows (that contain it), mae
    and bias (mean of prediction - target) in the target's unit, coverage of the intervals.
    """
    errors = rows.column("prediction").to_numpy() - targets
    lower, upper = (rows.column(name).to_numpy() for name in ("lower", "upper"))
    covered = fraction_within(lower, upper, targets)
    counts = present.sum(axis=0)
    numbers = np.flatnonzero(counts)
    counts = counts[numbers]

    def mean(values: NDArray) -> NDArray[np.float64]:
        return (values.astype(np.float64) @ present[:, numbers]) / counts

    table = pa.table(
        {
            "element": [SYMBOLS[number - 1] for number in numbers],
            "rows": pa.array(counts, pa.int64()),
            "mae": mean(np.abs(errors)),
            "bias": mean(errors),
            "coverage": pa.nulls(len(numbers), pa.float64())
            if rows.column("lower").null_count
            else mean(covered),
        }
    )
    return table.sort_by([("mae", "descending"), ("element", "ascending")])


def baselines(
    train_targets: NDArray[np.float64],
    train_formulas: Formulas,
    test_targets: NDArray[np.float64],
    test_formulas: Formulas,
) -> Baselines:
    """Return the scores on the test rows of two predictors that see no structure."""
    mean = train_targets.mean()
    codes = _codes([*_strings(train_formulas), *_strings(test_formulas)])
    known, asked = codes[: len(train_targets)], codes[len(train_targets) :]
    counts = np.bincount(known, minlength=codes.max() + 1)
    sums = np.bincount(known, weights=train_targets, minlength=codes.max() + 1)
    of_composition = np.where(counts > 0, sums / np.maximum(counts, 1), mean)
    return Baselines(
        mean=score(np.full(len(test_targets), mean), test_targets),
        composition=score(of_composition[asked], test_targets),
    )


def _strings(formulas: Formulas) -> Sequence[str | None]:
    return formulas.to_pylist() if isinstance(formulas, pa.Array | pa.ChunkedArray) else formulas
