"""What a database is to the verb: something that plans a fetch, and then carries it out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from emrl_ray.crystals.counts import RowCounts
from emrl_ray.io.text import printable
from emrl_ray.runs.partitioned_output import Named, PartitionedOutput

ORIGIN_KEY = b"emrl_ray.origin"
"""Key of a table's metadata: where its rows come from, JSON."""

FetchPlan = Mapping[str, Any]
"""What a server said of itself and of the query when a fetch began, as JSON holds it; a later call
that goes on finds it again. `origin` is where the rows come from: source, version, query."""
Progress = Callable[[int, int, RowCounts], None]
"""Called with partitions done, partitions in all and counts: at the start and after each partition."""


class DatabaseSource(Protocol):
    """A database with one query of it."""

    def plan(self, earlier: FetchPlan | None) -> FetchPlan:
        """Return what the server says of itself and of the query.

        `earlier` is the plan of the call that began the fetch. Raises UserError, in one line, if the
        server is no longer what it was then.
        """

    def fetch(
        self, plan: FetchPlan, output: PartitionedOutput, progress: Progress
    ) -> Sequence[Named]:
        """Commit the partitions that `output` does not hold yet; return all, in order."""


def with_origin(table: pa.Table, plan: FetchPlan, **more: str) -> pa.Table:
    """Return a table that says in its metadata where its rows come from, and `more` texts."""
    notes = {key.encode(): value.encode() for key, value in more.items()}
    origin = printable(json.dumps(plan["origin"], ensure_ascii=False)).encode()
    return table.replace_schema_metadata({ORIGIN_KEY: origin, **notes})
