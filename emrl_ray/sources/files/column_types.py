"""The further columns of all sources: each has one type, whichever files have it."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from emrl_ray.config.errors import UserError
from emrl_ray.crystals.schema import CRYSTAL_SCHEMA, READ_BY
from emrl_ray.sources.files.formats.csv import InferredType

DEFAULT_ID = "id"


class ExtraColumns:
    """Columns beyond those of every crystals table, gathered file by file."""

    def __init__(self, id_column: str) -> None:
        self.id_column = id_column
        self._fields: dict[str, pa.Field] = {}

    def schema(self) -> pa.Schema:
        """Return all of them; one that is empty everywhere holds numbers."""
        return pa.schema(
            field.with_type(pa.float64()) if pa.types.is_null(field.type) else field
            for field in self._fields.values()
        )

    def check_ids(self, kinds: Mapping[str, InferredType], path: str) -> None:
        """Raise UserError, in one line, if a column of ids is named that a file has not."""
        if self.id_column not in (DEFAULT_ID, *kinds):
            raise UserError(
                f"{path}: no column {self.id_column!r} (it has {', '.join(kinds) or 'none'}): "
                "name it with --id-column"
            )

    def add_kinds(self, kinds: Mapping[str, InferredType], path: str) -> None:
        """Note columns of texts, of which it is known what they have in common."""
        for name, kind in kinds.items():
            if name:
                self.add(pa.field(name, kind.type), path)

    def add(self, field: pa.Field, path: str) -> None:
        """Note a column; raises UserError if an earlier file has another of that name."""
        if field.name in (*CRYSTAL_SCHEMA.names, READ_BY, self.id_column):
            return
        known = self._fields.setdefault(field.name, field)
        if pa.types.is_null(known.type):
            self._fields[field.name] = field
        elif not pa.types.is_null(field.type) and known.type != field.type:
            raise UserError(
                f"{path}: column {field.name!r} is {field.type}, in an earlier file {known.type}"
            )
