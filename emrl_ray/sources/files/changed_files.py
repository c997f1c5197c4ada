"""Which files of a listing were not read before, as they are now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from emrl_ray.sources.files.listing import Listing, file_keys


class ChangedFiles(NamedTuple):
    """What is to be read of a listing."""

    listing: Listing
    """The files that are new, or not what they were, in order."""
    changed: list[str]
    """Paths of those that were read before with another size or time of change."""


def changed_files(listing: Listing, read: Sequence[pa.Table]) -> ChangedFiles:
    """Return the files of a listing that are not among those `read` (tables of listings, oldest first).

    What counts of a file that was read several times is what it was the last time.
    """
    if not read:
        return ChangedFiles(listing, [])
    known = pa.concat_tables(reversed(read))
    files = listing.table
    index = pc.index_in(file_keys(files), value_set=file_keys(known))  # the first, so the latest
    same = pa.array([True] * files.num_rows, pa.bool_())
    for name in ("size", "changed"):
        before = known.column(name).take(index)
        same = pc.and_(same, pc.fill_null(pc.equal(files.column(name), before), False))
    changed = pc.and_(pc.is_valid(index), pc.invert(same))
    new = Listing(files.filter(pc.invert(same)), listing.passed_over)
    return ChangedFiles(new, files.column("path").filter(changed).to_pylist())


def still_there(files: pa.Table, listing: Listing) -> bool:
    """Return whether all `files`, a table of a listing, are in a later listing, as they were."""
    return (
        changed_files(Listing(files, listing.passed_over), [listing.table]).listing.table.num_rows
        == 0
    )
