"""How many candidates are in the domain of a model, and of all, and why the others are not, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

NAMED = ("unseen_element", "unseen_pair")
"""Codes of `domain_reason` whose second word is counted too: there are few of these words."""
WORDS = {
    "unseen_element": "element not in the training set",
    "unseen_pair": "pair of elements not in the training set",
    "pair_distance": "pair distance unlike those of the training set",
    "volume_per_atom": "volume per atom outside the range of the training set",
    "shortest_distance": "shortest distance outside the range of the training set",
    "atoms": "more or fewer atoms than in the training set",
    "features": "features far from those of the training set",
    "embedding": "embedding far from those of the training set",
    "unknown": "reason not recorded",
}
"""What the first word of `domain_reason` means."""


class DomainCounts(NamedTuple):
    """Counts of rows by what one model says of its domain."""

    judged: int
    """Rows of which is known whether they are in domain."""
    reasons: Counter[str]
    """Rows out of domain by the code of the reason."""
    details: Counter[tuple[str, str]]
    """Rows out of domain by code and second word, for the codes in `NAMED`."""

    @property
    def outside(self) -> int:
        """Rows out of domain."""
        return self.reasons.total()

    def __add__(self, other: object) -> DomainCounts:
        """Return the sums of both."""
        if not isinstance(other, DomainCounts):
            return NotImplemented
        return DomainCounts(
            self.judged + other.judged, self.reasons + other.reasons, self.details + other.details
        )


class Verdict(NamedTuple):
    """What all models together say of rows, (n,) each."""

    inside: NDArray[np.bool_]
    """In the domain of every model."""
    outside: NDArray[np.bool_]
    """Out of the domain of a model or more; what is neither is not known."""


def verdict(rows: pa.Table | pa.RecordBatch, endings: Sequence[str]) -> Verdict:
    """Return the verdict of the models whose columns have these endings."""
    inside, outside = np.ones(rows.num_rows, bool), np.zeros(rows.num_rows, bool)
    for ending in endings:
        column = in_domain(rows, ending)
        inside &= column.fill_null(False).to_numpy(zero_copy_only=False)
        outside |= ~column.fill_null(True).to_numpy(zero_copy_only=False)
    return Verdict(inside, outside)


def count_domain(rows: pa.RecordBatch, ending: str) -> DomainCounts:
    """Return the counts of a model whose columns have this ending."""
    column, name = in_domain(rows, ending), f"domain_reason{ending}"
    judged = len(column) - column.null_count
    outside = pc.invert(column).fill_null(False)
    if name not in rows.schema.names:
        unknown = pc.sum(outside).as_py() or 0
        return DomainCounts(judged, Counter({"unknown": unknown} if unknown else {}), Counter())
    reason = rows.column(name).filter(outside).cast(pa.string())
    words = pc.split_pattern(reason.fill_null("unknown"), " ", max_splits=2)
    codes = _tally(pc.list_element(words, 0))
    named = words.filter(
        pc.and_(
            pc.is_in(pc.list_element(words, 0), pa.array(NAMED)),
            pc.greater(pc.list_value_length(words), 1),
        )
    )
    both = pc.binary_join_element_wise(pc.list_element(named, 0), pc.list_element(named, 1), " ")
    details = {tuple(name.split(" ", 1)): count for name, count in _tally(both).items()}
    return DomainCounts(judged, codes, Counter(details))  # type: ignore[arg-type]


def in_domain(rows: pa.Table | pa.RecordBatch, ending: str) -> pa.BooleanArray:
    """Return whether rows are in the domain of the model of this ending, null where that is not told."""
    name = f"in_domain{ending}"
    if name not in rows.schema.names:
        return pa.nulls(rows.num_rows, pa.bool_())
    column = rows.column(name).cast(pa.bool_())
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _tally(texts: pa.Array) -> Counter[str]:
    return Counter(
        {pair["values"].as_py(): pair["counts"].as_py() for pair in texts.value_counts()}
    )


def reason_words(code: str) -> str:
    """Return what a code means; of an unknown one, the code without its underscores."""
    return WORDS.get(code, code.replace("_", " "))


def short_reason(reason: str | None) -> str:
    """Return a whole `domain_reason` as short words."""
    code, _, rest = (reason or "").partition(" ")
    words = code.replace("_", " ")
    return f"{words} {rest}".strip() or WORDS["unknown"]
