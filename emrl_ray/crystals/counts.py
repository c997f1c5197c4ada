"""What became of rows: the account that every verb gives at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class RowCounts(NamedTuple):
    """What became of the rows of one partition, or of many."""

    rows_in: int
    rows_out: int
    rejects: Counter[str]

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> RowCounts:
        """Return the counts whose fields came through JSON."""
        return cls(fields["rows_in"], fields["rows_out"], Counter(fields["rejects"]))

    @classmethod
    def total(cls, counts: Iterable[RowCounts]) -> RowCounts:
        """Return the sums of all; zeros of none."""
        return sum(counts, cls(0, 0, Counter()))

    def __add__(self, other: object) -> RowCounts:
        """Return the sums of both."""
        if not isinstance(other, RowCounts):
            return NotImplemented
        return RowCounts(
            self.rows_in + other.rows_in,
            self.rows_out + other.rows_out,
            self.rejects + other.rejects,
        )

    @property
    def balanced(self) -> bool:
        """Whether rows in = rows out + rejects."""
        return self.rows_in == self.rows_out + self.rejects.total()


def summary_line(verb: str, counts: RowCounts) -> str:
    """Return the line that ends every verb: rows in = rows out + rejects, by reason."""
    return f"{verb}: {balance(counts)}"


def balance(counts: RowCounts) -> str:
    """Return what became of rows: rows in = rows out + rejects, by reason."""
    return (
        f"{counts.rows_in:,} rows in = {counts.rows_out:,} rows out + "
        f"{counts.rejects.total():,} rejects{in_brackets(counts.rejects)}"
    )


def in_brackets(rejects: Counter[str]) -> str:
    """Return the reasons of rejects with their numbers, the commonest first; nothing of none."""
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in rejects.most_common())
    return f" ({reasons})" if reasons else ""


def closing(verb: str, counts: RowCounts, passed_over: int) -> list[str]:
    """Return the lines that end a verb on one machine: its account, and how many files were none."""
    lines = [summary_line(verb, counts)]
    if passed_over:
        lines.append(f"{verb}: {passed_over:,} other files were skipped")
    return lines


def duration(seconds: float) -> str:
    """Return a time for people: 42 s, 7 min 05 s, 3 h 12 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
