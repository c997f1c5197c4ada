"""The crystals of any source, partition by partition, for the verbs that run on one machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pyarrow as pa

from emrl_ray.config import IngestConfig, UserError
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.io.paths import resolve
from emrl_ray.sources.files.listing import Listing, list_sources
from emrl_ray.sources.files.loading import Loaded, Loader
from emrl_ray.sources.files.parser_pool import ParserPool, main_hidden
from emrl_ray.sources.files.partitions import CsvColumns
from emrl_ray.sources.files.planning import IngestPlan, plan_partitions

FILES_PER_PARTITION = 2000
"""Files that are parsed, and computed with, together."""


class CrystalSource(NamedTuple):
    """What a source holds; names and schemas have been read, crystals not yet."""

    listing: Listing
    plan: IngestPlan
    csv_columns: CsvColumns

    @property
    def columns(self) -> pa.Schema:
        """Columns beyond those of every crystals table that any of the files has."""
        return self.plan.columns

    @property
    def passed_over(self) -> int:
        """Files, and members of archives, that hold no crystals by their names."""
        return self.listing.passed_over.count + self.plan.passed_over.count

    def load(self, limits: ValidationLimits, threads: int) -> Iterator[Loaded]:
        """Yield what the partitions hold; files are read as `ingest` reads them by default."""
        with main_hidden(), ParserPool(threads, IngestConfig.timeout, self.plan.kinds) as pool:
            load = Loader(self.columns, limits, pool, self.csv_columns)
            for partition in self.plan.partitions:
                loaded = load(partition)
                assert loaded.rows_in == loaded.crystals.num_rows + len(loaded.rejects)
                yield loaded


@contextmanager
def open_source(source: str, cif_column: str, out: str | None = None) -> Iterator[CrystalSource]:
    """Context: the crystals of a source; archives are unpacked for as long as it lasts.

    Raises UserError or MissingFileError, in one line, if there are none, or if the
    file `out` is one of those that would be read.
    """
    with tempfile.TemporaryDirectory() as staging:
        listing = list_sources([source])
        if out is not None and listing.holds(resolve(out).path):
            raise UserError(f"--out {out}: is among the files to read; give another")
        columns = CsvColumns(cif_column)
        plan = plan_partitions(listing, staging, FILES_PER_PARTITION, columns)
        if not plan.partitions:
            raise UserError(f"{source}: no crystals there")
        yield CrystalSource(listing, plan, columns)
