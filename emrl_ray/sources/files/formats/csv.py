"""CSV files with a column of CIF texts: their records, addressed by bytes."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa

from emrl_ray.config.errors import UserError
from emrl_ray.io.text import printable

FIELD_LIMIT = 1 << 30
"""Largest field, bytes; the csv module's own limit is less than a CIF may have."""
NUMBER = re.compile(r"\s*(?:[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|nan|NaN)\s*", re.ASCII)
TRUTH = {"true": True, "false": False}


class Record(NamedTuple):
    """A row of a CSV file, which may span many lines."""

    start: int
    """First byte in the file."""
    stop: int
    """Byte after the last."""
    fields: list[str]
    """Bytes that are not UTF-8 are surrogates (PEP 383)."""


def records(lines: Iterable[bytes], start: int = 0) -> Iterator[Record]:
    """Yield the records of a CSV file whose lines begin at byte `start`; empty lines are none.

    Raises csv.Error for what is no CSV.
    """
    csv.field_size_limit(FIELD_LIMIT)
    position = start

    def decoded() -> Iterator[str]:
        nonlocal position
        for line in lines:
            position += len(line)
            text = line.decode("utf-8", "surrogateescape")
            yield text.removeprefix("\ufeff") if position == len(line) else text

    begin = start
    for fields in csv.reader(decoded()):
        if fields:
            yield Record(begin, position, fields)
        begin = position


def check_header(header: Sequence[str], needed: str, option: str, source: str) -> None:
    """Raise UserError, in one line, unless the names of the columns differ and hold `needed`."""
    if needed not in header:
        raise UserError(
            f"{source}: no column {needed!r} (it has {', '.join(header)}): name it with {option}"
        )
    twice = [name for name in header if name and header.count(name) > 1]
    if twice:
        raise UserError(f"{source}: two columns have the name {twice[0]!r}")


class InferredType:
    """What the values of a column have in common; add them one by one."""

    def __init__(self) -> None:
        self.numbers = self.truths = True
        self.any = False

    def add(self, value: str) -> None:
        """Take one more value into account; an empty one says nothing."""
        if not value:
            return
        self.any = True
        self.numbers = self.numbers and as_number(value) is not None
        self.truths = self.truths and value.lower() in TRUTH

    @property
    def type(self) -> pa.DataType:
        """The narrowest type that holds all values; null if all are empty."""
        if not self.any:
            return pa.null()
        if self.truths:
            return pa.bool_()
        return pa.float64() if self.numbers else pa.string()


def as_number(text: str) -> float | None:
    """Return the number that a text writes, or None; of words only `nan` is one ("InF" is not)."""
    return float(text) if NUMBER.fullmatch(text) else None


def converted(values: Sequence[str], kind: pa.DataType) -> pa.Array:
    """Return the texts of a column as an array of `kind`, null where empty or not finite."""
    if pa.types.is_floating(kind):
        numbers = [as_number(value) for value in values]
        found: list[object] = [x if x is not None and math.isfinite(x) else None for x in numbers]
    elif pa.types.is_boolean(kind):
        found = [TRUTH.get(value.lower()) for value in values]
    else:
        found = [printable(value) or None for value in values]
    return pa.array(found, kind)
