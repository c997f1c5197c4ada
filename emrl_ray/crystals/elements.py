"""Names of the elements and reduced formulas, without pymatgen."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrl_ray.config import UserError
from emrl_ray.crystals.batch import CrystalBatch

MAX_ATOMIC_NUMBER = 118

_IN_ORDER = """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb
Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu
Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db
Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
"""
SYMBOLS: tuple[str, ...] = tuple(_IN_ORDER.split())
"""Symbol of the element with atomic number Z at index Z - 1."""

ATOMIC_NUMBERS: dict[str, int] = {
    **{symbol: number for number, symbol in enumerate(SYMBOLS, start=1)},
    "D": 1,
    "T": 1,
}
"""Atomic number of a symbol; deuterium and tritium count as hydrogen."""

_BY_ELECTRONEGATIVITY = """
Fr 0.7 Cs 0.79 K 0.82 Rb 0.82 Ba 0.89 Ra 0.9 Na 0.93 Sr 0.95 Li 0.98 Ca 1 Ac 1.1 La 1.1 Tb 1.1
Yb 1.1 Ce 1.12 Pm 1.13 Pr 1.13 Nd 1.14 Sm 1.17 Eu 1.2 Gd 1.2 Dy 1.22 Y 1.22 Ho 1.23 Er 1.24 Tm 1.25
Lu 1.27 Pu 1.28 Am 1.3 Bk 1.3 Cf 1.3 Cm 1.3 Es 1.3 Fm 1.3 Hf 1.3 Lr 1.3 Md 1.3 No 1.3 Th 1.3 Mg 1.31
Zr 1.33 Np 1.36 Sc 1.36 U 1.38 Pa 1.5 Ta 1.5 Ti 1.54 Mn 1.55 Be 1.57 Nb 1.6 Al 1.61 Tl 1.62 V 1.63
Zn 1.65 Cr 1.66 Cd 1.69 In 1.78 Ga 1.81 Fe 1.83 Co 1.88 Cu 1.9 Re 1.9 Si 1.9 Tc 1.9 Ni 1.91 Ag 1.93
Sn 1.96 Hg 2 Po 2 Ge 2.01 Bi 2.02 B 2.04 Sb 2.05 Te 2.1 Mo 2.16 As 2.18 P 2.19 At 2.2 H 2.2 Ir 2.2
Os 2.2 Pd 2.2 Rn 2.2 Ru 2.2 Pt 2.28 Rh 2.28 Pb 2.33 W 2.36 Au 2.54 C 2.55 Se 2.55 S 2.58 Xe 2.6
I 2.66 Br 2.96 Kr 3 N 3.04 Cl 3.16 O 3.44 F 3.98 Ar inf Bh inf Cn inf Db inf Ds inf Fl inf He inf
Hs inf Lv inf Mc inf Mt inf Ne inf Nh inf Og inf Rf inf Rg inf Sg inf Ts inf
"""
_PAIRS = _BY_ELECTRONEGATIVITY.split()
_ELECTRONEGATIVITY = dict(zip(_PAIRS[::2], map(float, _PAIRS[1::2]), strict=True))
"""Pauling electronegativity by symbol, in the order in which a formula names the elements."""
_ELECTRONEGATIVITY_OF = np.array([0, *(_ELECTRONEGATIVITY[symbol] for symbol in SYMBOLS)])
_RANK = [0, *(list(_ELECTRONEGATIVITY).index(symbol) for symbol in SYMBOLS)]

_POLYANION_GAP = 1.65
"""The last two elements are a group where their electronegativities differ by less than this."""

_UNREDUCED = {
    **{formula: f"{formula}2" for formula in ("O", "N", "F", "Cl", "H")},
    **{f"{cation}O": f"{cation}2O2" for cation in ("Li", "Na", "K", "H", "Cs", "Rb")},
}
"""Molecules and peroxides, which keep the formula that they are known by."""


class Element(NamedTuple):
    """An element of a formula and how many of its atoms there are."""

    symbol: str
    amount: int


def named_elements(names: Sequence[str], option: str) -> list[int]:
    """Return atomic numbers; raises UserError, in one line, for what is no symbol of an element."""
    for name in names:
        if name not in ATOMIC_NUMBERS:
            meant = name.capitalize()
            hint = f"did you mean {meant}?" if meant in ATOMIC_NUMBERS else "give symbols, as Pb"
            raise UserError(f"--{option} {name}: no such element; {hint}")
    return [ATOMIC_NUMBERS[name] for name in names]


def by_electronegativity(atomic_numbers: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the order (N,) of atoms by rising electronegativity; equal ones keep theirs."""
    return np.argsort(_ELECTRONEGATIVITY_OF[atomic_numbers], kind="stable")


def reduced_formula(atomic_numbers: NDArray[np.integer]) -> str:
    """Return the reduced formula of the atoms (N,), written as pymatgen and the Materials Project do.

    Elements stand in the order of their electronegativity, then of the alphabet; the last two of
    three or more are bracketed where they repeat as a group ("Ca3(AlGe)2"); O2, N2, F2, Cl2, H2 and
    the alkali peroxides are not reduced further.
    """
    return _formula(frozenset(Counter(np.asarray(atomic_numbers).tolist()).items()))


@lru_cache(maxsize=1 << 16)
def _formula(composition: frozenset[tuple[int, int]]) -> str:
    """Return the reduced formula of (atomic number, number of atoms) of each element."""
    divisor = math.gcd(*(amount for _, amount in composition))
    elements = [
        Element(SYMBOLS[number - 1], amount // divisor)
        for number, amount in sorted(composition, key=lambda entry: _RANK[entry[0]])
    ]
    formula = _join(elements[:-2]) + _tail(elements[-2:]) if len(elements) > 2 else _join(elements)
    return _UNREDUCED.get(formula, formula)


def _tail(pair: list[Element]) -> str:
    repeats = math.gcd(pair[0].amount, pair[1].amount)
    gap = _ELECTRONEGATIVITY[pair[1].symbol] - _ELECTRONEGATIVITY[pair[0].symbol]
    if repeats == 1 or not gap < _POLYANION_GAP:
        return _join(pair)
    group = _join(Element(symbol, amount // repeats) for symbol, amount in pair)
    return f"({group}){repeats}"


def _join(elements: Iterable[Element]) -> str:
    return "".join(symbol + (str(amount) if amount != 1 else "") for symbol, amount in elements)


def symbols(batch: CrystalBatch) -> list[list[str]]:
    """Return the symbol of each atom of each crystal."""
    names = [SYMBOLS[number - 1] for number in batch.atomic_numbers.tolist()]
    return [names[first:last] for first, last in pairwise(batch.offsets.tolist())]
