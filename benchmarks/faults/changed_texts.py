"""CIFs that are changed at random, with a seed: what the reader is tried with."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

TOKENS = (
    *("loop_", "data_", "data_x", "save_", "global_", "stop_", ";", "\n;\n", "'", '"', "?", ".", "#"),
    *("_atom_site_fract_x", "_atom_site_label", "_atom_site_occupancy", "_cell_length_a", "_cell_"),
    *("_symmetry_equiv_pos_as_xyz", "_space_group_name_Hall", "_symmetry_Int_Tables_number"),
    *("_symmetry_space_group_name_H-M 'F d -3 m'", "'x,y,z'", "'-y,x-y,z+1/3'", "'x+1/0,y,z'", "R -3 m :H"),
    *("_atom_site.id", "_cell.length_a", "\0", "\t", "\r", "\x1a", "\ufeff", "Å", "\U0001f600", "Fe3+", "D", "Uuo"),
)  # fmt: skip
NUMBERS = (
    *(
        "0",
        "-1",
        "1e999",
        "-1e999",
        "1e-300",
        "nan",
        "inf",
        "180",
        "179.99999",
        "1e9",
        "0.33333(12)",
    ),
    *("5.(", "(3)", "1_0", "0x10", "9" * 400, "--1", "1/3", "1e", "+.5", "00005", "1e5e5"),
)
NUMBER = re.compile(rb"-?\d+\.?\d*(?:\(\d+\))?")

SEEDS = (
    """data_salt
_cell_length_a 5.64
_cell_length_b 5.64
_cell_length_c 5.64
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
_symmetry_Int_Tables_number 225
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Na1 Na1+ 0 0 0 1
Cl1 Cl1- 0.5 0.5 0.5 1.000(3)
""",
    """# a layered sulfide
data_global
_journal_name_full 'none'
data_first
_publ_section_title
;
A text field
;
_cell_length_a 3.160(2)
_cell_length_b 3.160(2)
_cell_length_c 12.294
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120.0
loop_
_space_group_symop_id
_space_group_symop_operation_xyz
1 x,y,z
2 -y,x-y,z
3 -x+y,-x,z
4 -x,-y,z+1/2
5 y,-x+y,z+1/2
6 x-y,x,z+1/2
7 y,x,-z
8 x-y,-y,-z
9 -x,-x+y,-z
10 -y,-x,-z+1/2
11 -x+y,y,-z+1/2
12 x,x-y,-z+1/2
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Mo1 0.3333 0.6667 0.25
S1 0.3333 0.6667 0.621
data_second
_cell_length_a 3
_cell_length_b 3
_cell_length_c 3
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_disorder_group
Po 0 0 0 .
""",
)


def mutated(seed: int, number: int, texts: Sequence[bytes]) -> bytes:
    """Return the `number`-th changed CIF of a seed: one of the texts after one to four changes."""
    chance = random.Random(f"{seed}/{number}")
    content = chance.choice(texts)
    for _ in range(chance.randint(1, 4)):
        content = chance.choice(CHANGES)(content, chance, texts)
    return content[: 1 << 18]


def _flip(content: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    found = bytearray(content)
    for each in range(chance.randint(0, 4), 5):
        if found:
            found[chance.randrange(len(found))] = chance.randrange(256 if each == 0 else 128)
    return bytes(found)


def _cut(content: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    return content[: chance.randint(0, len(content))]


def _token(content: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    at = chance.randint(0, len(content))
    space = chance.choice((b"", b" ", b"\n"))
    return content[:at] + space + chance.choice(TOKENS).encode() + space + content[at:]


def _number(content: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    found = list(NUMBER.finditer(content))
    if not found:
        return content
    where = chance.choice(found)
    return content[: where.start()] + chance.choice(NUMBERS).encode() + content[where.end() :]


def _lines(content: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    """Drop, swap, repeat or move lines."""
    lines = content.split(b"\n")
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    change = chance.randrange(4)
    if change == 0:
        del lines[one]
    elif change == 1:
        lines[one], lines[other] = lines[other], lines[one]
    elif change == 2:
        lines[one:one] = [lines[other]] * chance.choice((1, 2, 10, 300))
    else:
        lines.insert(one, lines.pop(other))
    return b"\n".join(lines)


def _splice(content: bytes, chance: random.Random, texts: Sequence[bytes]) -> bytes:
    other = chance.choice(texts)
    return content[: chance.randint(0, len(content))] + other[chance.randint(0, len(other)) :]


def _span(content: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    """Drop or double a run of bytes."""
    start = chance.randint(0, len(content))
    stop = min(len(content), start + chance.choice((1, 3, 20, 200)))
    times = chance.choice((0, 2, 50))
    return content[:start] + content[start:stop] * times + content[stop:]


CHANGES: tuple[Callable[[bytes, random.Random, Sequence[bytes]], bytes], ...] = (
    *(_flip, _cut, _token, _token, *[_number] * 6, *[_lines] * 4, _splice, _span),
)
