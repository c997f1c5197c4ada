"""Known crystals as parents: their ions, and how their size follows from those of the ions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.elements import SYMBOLS
from emrl_ray.crystals.geometry.neighbor_list import unordered_pairs
from emrl_ray.crystals.schema import GEOMETRY, Reject, RejectReason, Stage
from emrl_ray.crystals.validation import ValidationLimits, validate
from emrl_ray.io.parquet import read_table
from emrl_ray.sources.files.parsed import ParseFailure
from emrl_ray.sources.generation.oxidation_states import oxidation_states
from emrl_ray.sources.generation.substitution_probabilities import ion_table

REACH = 4.0
"""Å within which ions of unlike charge may be bonded."""
SHELL = 1.1
"""An ion's bonds are those to ions of unlike charge up to so many times as far as the nearest."""
CRYSTALS_AT_ONCE = 1024
"""Crystals whose pairs are held at a time."""


class Parents(NamedTuple):
    """P crystals whose ions are known."""

    ids: list[str]
    batch: CrystalBatch
    kinds: list[tuple[int, ...]]
    """Places in the ion table of each one's ions, by ascending atomic number."""
    amounts: list[tuple[int, ...]]
    """How many of them there are, reduced."""
    site_kinds: NDArray[np.uint8]
    """(N,) which of its crystal's ions each atom is."""
    size: NDArray[np.float64]
    """(P, K) Å⁻¹: the length of a cell with other ions is Σ size × radius of the new ions, in those
    of the parent. It is the mean over all bonds of (sum of the new radii) / (sum of the old)."""


class _Ions(NamedTuple):
    """The ions of a compound (see `Parents`)."""

    kinds: tuple[int, ...]
    amounts: tuple[int, ...]
    site_kinds: NDArray[np.uint8]


def read_parents(uri: str, limits: ValidationLimits) -> tuple[Parents, list[Reject]]:
    """Return the crystals of a table that can be parents, and a reject for each other one."""
    good, rejects = validate(read_table(uri, ["id", *GEOMETRY]), limits, uri)
    batch = CrystalBatch.from_arrow(good)
    ids: list[str] = good.column("id").to_pylist()
    found = [_ions(batch.atomic_numbers[i:j]) for i, j in pairwise(batch.offsets)]
    flawed = {row: each for row, each in enumerate(found) if isinstance(each, ParseFailure)}
    kept = [row for row in range(len(ids)) if row not in flawed]
    ions = [each for each in found if isinstance(each, _Ions)]
    size = _sizes(batch.take(kept), ions)
    bonded = np.flatnonzero(size.any(axis=1)).tolist()
    for place in sorted(set(range(len(kept))) - set(bonded)):
        what = f"no ions of unlike charge within {REACH:g} Å"
        flawed[kept[place]] = ParseFailure(RejectReason.NO_PAIRS, what)
    rejects += [flawed[row].reject(ids[row], uri, Stage.GENERATE) for row in sorted(flawed)]
    parents = Parents(
        [ids[kept[place]] for place in bonded],
        batch.take([kept[place] for place in bonded]),
        [ions[place].kinds for place in bonded],
        [ions[place].amounts for place in bonded],
        np.concatenate([np.zeros(0, np.uint8), *(ions[place].site_kinds for place in bonded)]),
        size[bonded],
    )
    return parents, rejects


def _ions(atomic_numbers: NDArray[np.uint8]) -> _Ions | ParseFailure:
    """Return the ions of the atoms of a crystal, or why they are not known."""
    elements, sites, counts = np.unique(atomic_numbers, return_inverse=True, return_counts=True)
    amounts = tuple((counts // np.gcd.reduce(counts)).tolist())
    states = oxidation_states(tuple(zip(elements.tolist(), amounts, strict=True)))
    if states is None:
        return ParseFailure(
            RejectReason.NO_OXIDATION_STATES,
            "no whole oxidation states, one for each element, make it neutral",
        )
    table, keys = ion_table(), list(zip(elements.tolist(), states, strict=True))
    if missing := [key for key in keys if key not in table.place]:
        number, charge = missing[0]
        return ParseFailure(
            RejectReason.NO_SUBSTITUTION,
            f"no substitution is known for {SYMBOLS[number - 1]} of charge {charge:+d}",
        )
    return _Ions(tuple(table.place[key] for key in keys), amounts, sites.astype(np.uint8))


def _sizes(batch: CrystalBatch, ions: Sequence[_Ions]) -> NDArray[np.float64]:
    """Return `Parents.size`; rows of zeros for crystals without a bond."""
    table = ion_table()
    site_kinds = np.concatenate([np.zeros(0, np.uint8), *(each.site_kinds for each in ions)])
    size = np.zeros((batch.n_crystals, max((len(each.kinds) for each in ions), default=0)))
    padded = np.zeros(size.shape, np.int64)
    for row, each in enumerate(ions):
        padded[row, : len(each.kinds)] = each.kinds
    for start in range(0, batch.n_crystals, CRYSTALS_AT_ONCE):
        part = batch.slice(start, start + CRYSTALS_AT_ONCE)
        sites = site_kinds[batch.offsets[start] :][: len(part.atomic_numbers)]
        crystal = np.repeat(np.arange(part.n_crystals), part.n_atoms)
        ion = padded[start:][crystal, sites]
        one, other = _bonds(part, table.charges[ion])
        weight = 1 / (table.radii[ion[one]] + table.radii[ion[other]])
        rows = crystal[one]
        for end in (one, other):
            np.add.at(size, (start + rows, sites[end]), weight)
        bonds = np.bincount(rows, minlength=part.n_crystals)
        size[start : start + part.n_crystals] /= bonds.clip(min=1)[:, None]
    return size


def _bonds(
    batch: CrystalBatch, charges: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the bonds as (ion, its neighbour), a bond twice where each is in the other's shell."""
    pairs = unordered_pairs(batch, REACH)
    unlike = charges[pairs.first] * charges[pairs.second] < 0
    first, second = pairs.first[unlike].astype(np.int64), pairs.second[unlike].astype(np.int64)
    one, other = np.concatenate([first, second]), np.concatenate([second, first])
    distance = np.tile(pairs.distance[unlike], 2)
    nearest = np.full(len(charges), np.inf)
    np.minimum.at(nearest, one, distance)
    bonded = distance <= SHELL * nearest[one]
    return one[bonded], other[bonded]
