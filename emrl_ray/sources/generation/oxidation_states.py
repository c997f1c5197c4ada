"""Oxidation states of a composition, one for each element, from how often they occur in the ICSD."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MAX_COMBINATIONS = 1 << 20
"""Assignments of states that are looked at; compositions of so many elements get none."""


@lru_cache(maxsize=1)
def occurrences() -> dict[tuple[int, int], int]:
    """Return how often the ICSD has an element (atomic number) in a state (charge, not 0).

    These are pymatgen's counts, by which its `Composition.oxi_state_guesses` ranks its guesses.
    """
    from pymatgen.core.composition import Composition

    Composition("NaCl").oxi_state_guesses()  # reads the counts
    assert Composition.oxi_prob is not None
    return {
        (ion.Z, int(ion.oxi_state)): count
        for ion, count in Composition.oxi_prob.items()
        if ion.oxi_state
    }


@lru_cache(maxsize=1 << 16)
def oxidation_states(composition: tuple[tuple[int, int], ...]) -> tuple[int, ...] | None:
    """Return the state of each (atomic number, number of atoms), all of an element in the same one.

    Of the neutral assignments it is the one whose states occur most often, summed over the atoms;
    so it is the first guess of pymatgen where that has one state for each element. None if there is
    none.
    """
    states = [_states_of(number) for number, _ in composition]
    if np.prod([float(len(state)) for state, _ in states]) > MAX_COMBINATIONS:
        return None
    charge, score = np.zeros(1, np.int64), np.zeros(1)
    for (state, count), (_, amount) in zip(states, composition, strict=True):
        charge = np.add.outer(charge, amount * state).reshape(-1)
        score = np.add.outer(score, amount * count).reshape(-1)
    neutral = np.flatnonzero(charge == 0)
    if not len(neutral):
        return None
    best = neutral[np.argmax(score[neutral])]
    places = np.unravel_index(best, [len(state) for state, _ in states])
    return tuple(int(state[place]) for (state, _), place in zip(states, places, strict=True))


@lru_cache(maxsize=128)
def _states_of(number: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the states (S,) of an element that pymatgen considers, and how often each occurs."""
    from pymatgen.core.periodic_table import Element

    element = Element.from_Z(number)
    states = element.icsd_oxidation_states or element.common_oxidation_states
    found = [int(state) for state in states if state]
    counts = [occurrences().get((number, state), 0) for state in found]
    return np.array(found, np.int64), np.array(counts, np.float64)
