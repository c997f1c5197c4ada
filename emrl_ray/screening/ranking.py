"""The best rows of one table of predictions, and what became of the others."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from emrl_ray.crystals.schema import KNOWN_ID, float_column
from emrl_ray.screening.filters import DOMAIN, EXCLUDED_BY, KNOWN
from emrl_ray.screening.objectives import P_ALL, P_IN_WINDOW, suffix

RANKED_SCHEMA = pa.schema(
    [
        pa.field("score", pa.float64()),
        pa.field("tie", pa.float64()),
        pa.field("id", pa.string()),
        pa.field("file", pa.int64()),
        pa.field("row", pa.int64()),
    ]
)
"""Of a row: score (larger is better), tie (smaller is better), id, number of its file, position there."""


class Ranking(NamedTuple):
    """What makes one candidate better than another.

    With a window: the larger probability of a value in it, or, of several objectives, in all their
    windows; among equals the prediction nearer to the middle of the window, or further inside where
    one end is open. Without: the larger prediction, or the smaller. Candidates that are equal in all
    that are ordered by id, then by place in the library.
    """

    window: tuple[float, float] | None = None
    """(low, high) of the first objective, in the unit of its target; an open end is infinite."""
    largest: bool = True
    """Whether the largest prediction is best; says nothing with a window."""
    objectives: int = 1
    """How many there are."""

    @property
    def columns(self) -> list[str]:
        """Columns of the predictions that ranking reads, where a table has them."""
        return ["id", "prediction", self.probability, EXCLUDED_BY]

    @property
    def counted(self) -> list[str]:
        """Columns that the tally of all rows reads besides."""
        return [*self.verdicts, KNOWN_ID]

    @property
    def probability(self) -> str:
        """Column that is ranked by if there is a window."""
        return P_ALL if self.objectives > 1 else P_IN_WINDOW

    @property
    def verdicts(self) -> list[str]:
        """Columns that tell whether a row is in the domain of each model."""
        return [f"in_domain{suffix(number)}" for number in range(self.objectives)]


class Tally(NamedTuple):
    """What became of the candidates on the way to the shortlist."""

    candidates: int
    excluded: Counter[str]
    """Candidates that a filter kept out, by the first such filter."""
    unranked: int
    """Candidates, not excluded, without a number to rank by."""
    let_in: Counter[str]
    """Ranked candidates that a filter which was not asked for would keep out, by its name."""

    @property
    def ranked(self) -> int:
        """Candidates that are left."""
        return self.candidates - self.excluded.total() - self.unranked

    def __add__(self, other: object) -> Tally:
        """Return the sums of both."""
        if not isinstance(other, Tally):
            return NotImplemented
        return Tally(
            self.candidates + other.candidates,
            self.excluded + other.excluded,
            self.unranked + other.unranked,
            self.let_in + other.let_in,
        )


NOTHING = Tally(0, Counter(), 0, Counter())


def best_rows(
    predictions: pa.Table, number: int, ranking: Ranking, top: int
) -> tuple[pa.Table, Tally]:
    """Return the best `top` rows of a table of predictions (`RANKED_SCHEMA`), and a tally of all.

    `number` is that of the table's file.
    """
    table, tally = ranked_rows(predictions, number, ranking)
    return select(table, top), tally


def ranked_rows(predictions: pa.Table, number: int, ranking: Ranking) -> tuple[pa.Table, Tally]:
    """Return the rows of a table of predictions that are ranked, in its order (`RANKED_SCHEMA`), and a tally of all.

    `number` is that of the table's file. Nulls and NaN are not ranked.
    """
    prediction = float_column(predictions, "prediction")
    if ranking.window is None:
        score = prediction if ranking.largest else -prediction
        tie = np.zeros(len(score))
    else:
        score = float_column(predictions, ranking.probability)
        tie = _distance_to_middle(prediction, *ranking.window)
    excluded: Counter[str] = Counter()
    allowed = np.ones(len(score), bool)
    if EXCLUDED_BY in predictions.column_names:
        reasons = predictions.column(EXCLUDED_BY)
        allowed = reasons.is_null().to_numpy()
        excluded.update(reasons.drop_null().to_pylist())
    rows = np.flatnonzero(allowed & ~np.isnan(score) & ~np.isnan(tie))
    table = pa.Table.from_arrays(
        [
            pa.array(score[rows]),
            pa.array(tie[rows]),
            predictions.column("id").take(rows).cast(pa.string()),
            pa.array(np.full(len(rows), number, np.int64)),
            pa.array(rows),
        ],
        schema=RANKED_SCHEMA,
    )
    unranked = int(allowed.sum()) - len(rows)
    return table, Tally(len(score), excluded, unranked, _let_in(predictions, rows, ranking))


def _let_in(predictions: pa.Table, rows: NDArray[np.int64], ranking: Ranking) -> Counter[str]:
    """Return how many of some rows are outside a domain, and how many known, as far as that is told."""
    outside, known = np.zeros(len(rows), bool), 0
    for name in set(ranking.verdicts) & set(predictions.column_names):
        outside |= ~predictions.column(name).fill_null(True).to_numpy()[rows]
    if KNOWN_ID in predictions.column_names:
        known = int(predictions.column(KNOWN_ID).is_valid().to_numpy()[rows].sum())
    return Counter({DOMAIN: int(outside.sum()), KNOWN: known})


def select(table: pa.Table, top: int) -> pa.Table:
    """Return the best `top` rows of a table with the columns of `RANKED_SCHEMA`, best first."""
    if table.num_rows == 0:  # pyarrow before 26 cannot choose from nothing
        return table
    keys = [
        ("score", "descending"),
        *((name, "ascending") for name in ("tie", "id", "file", "row")),
    ]
    return table.take(pc.select_k_unstable(table, top, sort_keys=keys))  # type: ignore[call-overload]


def _distance_to_middle(
    prediction: NDArray[np.float64], low: float, high: float
) -> NDArray[np.float64]:
    """Return how far predictions are from the middle of a window; of an open one, from its end."""
    if np.isinf(high):
        return -prediction
    if np.isinf(low):
        return prediction
    return np.abs(prediction - (low + high) / 2)
