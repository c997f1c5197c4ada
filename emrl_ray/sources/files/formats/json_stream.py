"""The entries of a JSON file of any size, addressed by bytes.

A file is a list of entries, a mapping of ids to them, a table as pandas writes one with `orient="split"`
(`index`, `columns`, `data`: matminer, matbench), or one entry. What an entry may be, `json_structures` says. The
file is decoded an entry at a time, by Python's own scanner on a window of the file: all at once where
it is met in a folder or an archive, in partitions where it is named.
"""

from __future__ import annotations

import io
import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Any, NamedTuple

from emrl_ray.config.errors import UserError
from emrl_ray.crystals.schema import RejectReason
from emrl_ray.io.archives import MAX_CONTENT_BYTES
from emrl_ray.io.text import printable
from emrl_ray.sources.files.formats.structure_json import NO_STRUCTURE, has_structure, read_entry
from emrl_ray.sources.files.parsed import ParsedCrystal, ParseFailure

WINDOW_BYTES = 1 << 20
MAX_DIGITS = 400
SPACE = re.compile(r"[ \t\n\r]*")
TABLE_KEYS = {"index", "columns", "data", "index_names", "column_names"}
ENTRY_KEYS = {"@module", "@class", "@version", "lattice", "sites", "charge", "properties"}
ENTRY_KEYS |= {"atoms", "jid", "structure"}
"""Keys with which an entry begins and a mapping of ids does not."""


class Entry(NamedTuple):
    """An entry of a JSON file."""

    start: int
    """First byte in the file."""
    stop: int
    """Byte after the last."""
    name: str | None
    """Its key, or its label in the index where that is text."""
    number: int
    """Its label in the index where that is a number, else its position, counted from 1."""
    value: Any


class Table(NamedTuple):
    """Where the rows of a table are, and what they are called."""

    data: int
    """Byte at which the list of rows begins."""
    columns: list[str]
    labels: list[Any] | None


def read_json(text: str) -> list[ParsedCrystal | ParseFailure]:
    """Return the crystals of a JSON file, in order; one flaw if none of several entries has a structure."""
    content = text.encode()
    file = JsonFile(io.BytesIO(content), 0, len(content))
    entries = [entry._replace(value=file.columns_of(entry)) for entry in file.entries()]
    if len(entries) > 1 and not any(has_structure(entry.value) for entry in entries):
        return [
            ParseFailure(RejectReason.UNREADABLE, f"{len(entries):,} entries, and {NO_STRUCTURE}")
        ]
    return [read_entry(entry.value, entry.name, entry.number) for entry in entries]


class JsonFile:
    """A JSON file, or the part `start:stop` of a file that is one.

    Each method raises ValueError, with what is wrong, for what is no JSON or no file of entries.
    """

    def __init__(self, stream: Any, start: int, stop: int) -> None:
        stream.seek(start)
        if stream.read(min(len(BOM_UTF8), stop - start)) == BOM_UTF8:
            start += len(BOM_UTF8)
        self._scanner = _Scanner(stream, start, stop)
        self._start = start
        self.table = self._find_table()

    def entries(self) -> Iterator[Entry]:
        """Yield the entries in the order of the file."""
        scanner = self._scanner
        scanner.seek(self.table.data if self.table else self._start)
        if self.table is not None:
            yield from self._rows(self.table)
        elif scanner.peek() == "[":
            for number, (start, stop, value) in enumerate(scanner.listed(), 1):
                yield Entry(start, stop, None, number, value)
            scanner.end()
        elif scanner.peek() == "{" and self._is_mapping():
            for number, key in enumerate(scanner.members(), 1):
                start, stop, value = scanner.value()
                yield Entry(start, stop, printable(key), number, value)
            scanner.end()
        else:
            start, stop, value = scanner.value()
            scanner.end()
            yield Entry(start, stop, None, 1, value)

    def columns_of(self, entry: Entry) -> Any:
        """Return an entry as a mapping of columns, if it is one or a row of a table that fits it."""
        row = entry.value
        if self.table is None or not isinstance(row, list) or len(row) != len(self.table.columns):
            return row
        return dict(zip(self.table.columns, row, strict=True))

    def around(self) -> tuple[bytes, bytes]:
        """Return what makes a file of an entry alone, before and after it."""
        if self.table is None:
            return b"[", b"]"
        return b'{"columns": ' + json.dumps(self.table.columns).encode() + b', "data": [', b"]}"

    def _rows(self, table: Table) -> Iterator[Entry]:
        for position, (start, stop, value) in enumerate(self._scanner.listed()):
            label = None if table.labels is None else _at(table.labels, position)
            name = printable(label) if isinstance(label, str) else None
            number = label if isinstance(label, int) else position + 1
            yield Entry(start, stop, name, number, value)

    def _find_table(self) -> Table | None:
        """Return the layout of a table, None for what is none; rows are skipped if need be."""
        scanner, found = self._scanner, dict[str, Any]()
        scanner.seek(self._start)
        if scanner.peek() != "{":
            return None
        for key in scanner.members():
            if key not in TABLE_KEYS or scanner.peek() != "[":
                if not found:
                    return None
                scanner.value()
            elif key != "data":
                _, _, found[key] = scanner.value()
            else:
                found[key] = scanner.position
                if {"index", "columns"} <= found.keys():
                    break
                for _ in scanner.listed():
                    pass
        if not {"columns", "data"} <= found.keys():
            return None
        return Table(found["data"], [str(name) for name in found["columns"]], found.get("index"))

    def _is_mapping(self) -> bool:
        """Return whether the object that comes is a mapping of ids to entries, and go back.

        It is an entry if it has a key that only an entry has before any value with a structure, or if its first
        value is no object.
        """
        begin, mapping = self._scanner.position, False
        for key in self._scanner.members():
            mapping = key not in ENTRY_KEYS and (mapping or self._scanner.peek() == "{")
            if not mapping or has_structure(self._scanner.value()[2]):
                break
        self._scanner.seek(begin)
        return mapping


class _Scanner:
    """Reads values one after another; a character of its window is a byte of the file."""

    def __init__(self, stream: Any, start: int, stop: int) -> None:
        self.stream, self.stop = stream, stop
        self.decode = json.JSONDecoder(parse_int=_whole).raw_decode
        self.seek(start)

    def seek(self, position: int) -> None:
        """Go to a byte of the file."""
        self.base, self.at, self.text = position, 0, ""

    @property
    def position(self) -> int:
        """The byte of the file that is next."""
        return self.base + self.at

    def peek(self) -> str:
        """Return the next character that is no space, empty at the end."""
        while True:
            self.at = SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._fill():
                return ""

    def take(self, characters: str) -> str:
        """Return the next character, which must be one of these."""
        found = self.peek()
        if not found or found not in characters:
            what = repr(found) if found else "its end"
            raise UserError(f"{what} at byte {self.position} where one of {characters} should be")
        self.at += 1
        return found

    def value(self) -> tuple[int, int, Any]:
        """Return first byte, byte after the last and the next value."""
        self.peek()
        while True:
            try:
                value, end = self.decode(self.text, self.at)
            except (json.JSONDecodeError, RecursionError) as error:
                if isinstance(error, RecursionError) or not self._fill():
                    raise UserError(f"no JSON at byte {self.position}") from None
                continue
            length = end - self.at
            if end < len(self.text) or not self._fill():  # a number may go on
                break
        start, text = self.position, self.text[self.at : self.at + length]
        self.at += length
        return start, self.position, value if text.isascii() else self._utf8(text, value)

    def listed(self) -> Iterator[tuple[int, int, Any]]:
        """Yield the values of the list that comes."""
        self.take("[")
        if self.peek() == "]":
            self.take("]")
            return
        while True:
            yield self.value()
            if self.take(",]") == "]":
                return

    def members(self) -> Iterator[str]:
        """Yield the keys of the object that comes; the caller reads the value of each."""
        self.take("{")
        if self.peek() == "}":
            self.take("}")
            return
        while True:
            _, _, key = self.value()
            self.take(":")
            yield str(key)
            if self.take(",}") == "}":
                return

    def end(self) -> None:
        """Raise UserError if anything comes."""
        if self.peek():
            raise UserError(f"{self.peek()!r} at byte {self.position}, after its end")

    def _utf8(self, text: str, value: Any) -> Any:
        """Return a value with letters beyond ASCII; one that is no UTF-8 stays, for its reader to say."""
        try:
            return self.decode(text.encode("latin-1").decode())[0]
        except UnicodeDecodeError:
            return value

    def _fill(self) -> bool:
        """Read on, twice as much as there is; return whether there was more."""
        self.text, self.base, self.at = self.text[self.at :], self.position, 0
        if len(self.text) > MAX_CONTENT_BYTES:
            raise UserError(f"no entry ends within {MAX_CONTENT_BYTES:,} bytes of {self.base}")
        begin = self.base + len(self.text)
        self.stream.seek(begin)
        more = self.stream.read(min(max(WINDOW_BYTES, len(self.text)), self.stop - begin))
        self.text += more.decode("latin-1")
        return bool(more)


def _whole(digits: str) -> int | float:
    """Return a whole number; one beyond all use as a float, infinite (Python refuses to read it)."""
    return int(digits) if len(digits) < MAX_DIGITS else float(digits)


def _at(labels: list[Any], position: int) -> Any:
    return labels[position] if position < len(labels) else None
