"""What changed between two shortlists: rows that entered, left and moved."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from emrl_ray.screening.shortlist import RANK

CHANGE = "change"
ENTERED, LEFT, MOVED = "entered", "left", "moved"
"""Values of the column `change`."""
FOLLOWED = r"prediction(_\d+)?|p_in_window(_\d+)?|p_all"
"""Columns of a shortlist of which both values are told."""
BEFORE, AFTER = "_before", "_after"
"""What the names of their columns end in."""


class ShortlistDiff(NamedTuple):
    """What two shortlists do not have in common."""

    table: pa.Table
    """A row a change: `change`, `id`, `formula`, and before and after `rank`, predictions and
    probabilities. First what entered, best first, then what left, then what moved."""
    unmoved: int
    """Rows that have the same rank on both."""

    def count(self, change: str) -> int:
        """Return how many entered, left or moved."""
        return self.table.column(CHANGE).to_pylist().count(change)

    def ids(self, change: str) -> list[str]:
        """Return the ids of what entered, left or moved, best first."""
        rows = zip(*(self.table.column(name).to_pylist() for name in (CHANGE, "id")), strict=True)
        return [row_id for kind, row_id in rows if kind == change]

    @property
    def text(self) -> str:
        """All of it in a line."""
        counts = [f"{self.count(kind):,} {kind}" for kind in (ENTERED, LEFT, MOVED)]
        return f"{', '.join(counts)}, {self.unmoved:,} have the same rank"


def shortlist_diff(before: pa.Table, after: pa.Table) -> ShortlistDiff:
    """Return what changed from one shortlist to another.

    Rows are told apart by their ids. Of rows with one id the first of one shortlist is the first of
    the other, the second the second, and so on.
    """
    columns = _followed([before, after])
    old, new = _by_id(before, columns), _by_id(after, columns)
    entered = [key for key in new if key not in old]
    left = [key for key in old if key not in new]
    both = [key for key in new if key in old]
    moved = [key for key in both if old[key][RANK] != new[key][RANK]]
    kinds = [ENTERED] * len(entered) + [LEFT] * len(left) + [MOVED] * len(moved)
    keys = [*entered, *left, *moved]
    was, now = [old.get(key, {}) for key in keys], [new.get(key, {}) for key in keys]
    arrays = {
        CHANGE: pa.array(kinds, pa.string()),
        "id": pa.array([key[0] for key in keys], pa.string()),
        "formula": pa.array(
            [(b or a).get("formula") for a, b in zip(was, now, strict=True)], pa.string()
        ),
    }
    for name, kind in columns.items():
        arrays[name + BEFORE] = pa.array([row.get(name) for row in was], kind)
        arrays[name + AFTER] = pa.array([row.get(name) for row in now], kind)
    return ShortlistDiff(pa.table(arrays), len(both) - len(moved))


def _followed(tables: Sequence[pa.Table]) -> dict[str, pa.DataType]:
    """Return the columns whose values are told, of either shortlist."""
    names = [name for table in tables for name in table.column_names]
    followed = dict.fromkeys(name for name in names if re.fullmatch(FOLLOWED, name))
    return {RANK: pa.int64(), **{name: pa.float64() for name in followed}}


def _by_id(
    rows: pa.Table, columns: Mapping[str, pa.DataType]
) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the rows of a shortlist by id and by how many rows above have the same one."""
    names = [name for name in ("id", "formula", *columns) if name in rows.column_names]
    seen: Counter[str] = Counter()
    found = {}
    for row in rows.select(names).to_pylist():
        found[row["id"], seen[row["id"]]] = row
        seen[row["id"]] += 1
    return found
