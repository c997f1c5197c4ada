"""Extended XYZ: frames of a count, a line of key=value pairs with Lattice, and a line an atom.

A reader of our own, for what a crystal needs: `Lattice` (nine numbers, rows a, b, c in Å),
`Properties` (a species or atomic number column and `pos`, Cartesian in Å), `pbc` (which must be T in all
three directions where it is given) and, if there is one, `id`. Other keys and columns are skipped.
A frame that is no crystal is rejected and the next is read; a frame whose end cannot be told ends
the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from emrl_ray.crystals.elements import ATOMIC_NUMBERS
from emrl_ray.crystals.schema import RejectReason
from emrl_ray.sources.files.parsed import ParsedCrystal, ParseFailure, ReadError, attempt

PAIR = re.compile(r"""([^\s=]+)\s*=\s*("[^"]*"|'[^']*'|\{[^}]*\}|\[[^\]]*\]|\S+)""")
PLAIN = "species:S:1:pos:R:3"
"""Columns of a frame that names none."""
SPECIES = ("species", "element", "symbols", "z", "numbers", "atomic_numbers")


def read_extxyz(text: str) -> list[ParsedCrystal | ParseFailure]:
    """Return the crystal of every frame, in order."""
    return list(_frames(text.splitlines()))


def _frames(lines: list[str]) -> Iterator[ParsedCrystal | ParseFailure]:
    start = 0
    while start < len(lines):
        if not lines[start].strip():
            start += 1
            continue
        count = lines[start].strip()
        stop = start + 2 + int(count) if re.fullmatch(r"\d{1,9}", count) else 0
        if not start < stop <= len(lines):
            what = "is no number of atoms" if not stop else "atoms are announced, the file ends"
            yield ParseFailure(RejectReason.UNREADABLE, f"line {start + 1}: {count[:40]!r} {what}")
            return
        yield attempt(read_frame, lines[start + 1], lines[start + 2 : stop])
        start = stop


def read_frame(comment: str, rows: list[str]) -> ParsedCrystal:
    """Return the crystal of a frame; raises ReadError if it is none."""
    keys = {key.lower(): value.strip("\"'{}[] ") for key, value in PAIR.findall(comment)}
    if not rows:
        raise ReadError(RejectReason.NO_ATOMS)
    lattice = _lattice(keys.get("lattice"))
    periodic = re.split(r"[\s,]+", keys.get("pbc", "T T T"))
    if any(flag.upper() not in ("T", "TRUE", "1") for flag in periodic):
        raise ReadError(RejectReason.BAD_CELL, f"not periodic in all directions: pbc={keys['pbc']}")
    species, position = _columns(keys.get("properties", PLAIN))
    fields = [row.split() for row in rows]
    numbers = np.array([_atomic_number(row[species]) for row in fields], np.uint8)
    cartesian = np.array([row[position : position + 3] for row in fields], float)
    return ParsedCrystal(lattice, numbers, cartesian @ np.linalg.inv(lattice), keys.get("id"))


def _lattice(value: str | None) -> NDArray[np.float64]:
    if value is None:
        raise ReadError(
            RejectReason.BAD_CELL, "the frame has no Lattice: a molecule, not a crystal"
        )
    numbers = [float(number) for number in re.split(r"[\s,\[\]]+", value)]
    if len(numbers) != 9:
        raise ReadError(RejectReason.BAD_CELL, f"Lattice has {len(numbers)} numbers, not 9")
    lattice = np.array(numbers).reshape(3, 3)
    if not np.isfinite(lattice).all():
        raise ReadError(RejectReason.BAD_CELL, "the lattice is not finite")
    return lattice


def _columns(properties: str) -> tuple[int, int]:
    """Return the columns in which the species and the position of an atom begin."""
    parts = properties.split(":")
    names = [name.lower() for name in parts[::3]]
    widths = [int(width) for width in parts[2::3]]
    starts = dict(zip(names, np.cumsum([0, *widths]).tolist(), strict=False))
    species = next((starts[name] for name in SPECIES if name in starts), None)
    if species is None or "pos" not in starts:
        raise ReadError(RejectReason.UNREADABLE, f"no species and pos in Properties={properties}")
    return species, starts["pos"]


def _atomic_number(text: str) -> int:
    number = int(text) if text.isdigit() else ATOMIC_NUMBERS.get(text.capitalize(), 0)
    if not 1 <= number <= 118:
        raise ReadError(RejectReason.UNKNOWN_ELEMENT, f"species {text[:40]!r}")
    return number
