"""Compiled loops that merge the pairs of a crystal that have the same elements and distance.

A symmetric crystal has each of its pairs many times over. The functions hold no Python lock and
start no threads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

QUANTUM = 2.0**-20
"""Distances are the same if they round to the same multiple of this (Å)."""
ELEMENTS = 119
FREE = -1
HASH = -7046029254386353131
"""2⁶⁴ divided by the golden ratio, as a signed number: multiplying with it spreads keys (Knuth)."""


class Scratch(NamedTuple):
    """Memory for one crystal at a time with at most `room` pairs."""

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    distance: NDArray[np.float64]
    """The unordered pairs, as they are found."""
    keys: NDArray[np.int64]
    places: NDArray[np.int64]
    """A hash table of the distinct pairs: key, and place among them."""
    kind: NDArray[np.int64]
    """Elements of a distinct pair: s · S + t, for the elements s ≤ t of the crystal's S."""
    length: NDArray[np.float64]
    times: NDArray[np.float32]
    """Distance of a distinct pair, Å, and how often it occurs."""
    of_kind: NDArray[np.int64]
    """Distinct pairs of each kind."""
    number: NDArray[np.int64]
    """(119,) the number of an element among those of the crystal."""
    elements: NDArray[np.int64]
    """Its inverse."""


@njit(nogil=True, cache=True)
def make_scratch(room):
    """Return memory for crystals of at most `room` unordered pairs."""
    slots = _slots(room)
    return Scratch(
        np.empty(room, np.int32),
        np.empty(room, np.int32),
        np.empty(room),
        np.empty(slots, np.int64),
        np.empty(slots, np.int64),
        np.empty(room, np.int64),
        np.empty(room),
        np.empty(room, np.float32),
        np.empty(ELEMENTS * ELEMENTS, np.int64),
        np.empty(ELEMENTS, np.int64),
        np.empty(ELEMENTS, np.int64),
    )


@njit(nogil=True, cache=True)
def _slots(n_pairs):
    """Return the size of a hash table for so many pairs: a power of two, half of it free."""
    slots = 16
    while slots < 2 * n_pairs:
        slots *= 2
    return slots


@njit(nogil=True, cache=True)
def fill(scratch, crystal, offsets, center, neighbor, distance, pair_offsets):
    """Copy a crystal's unordered pairs, the first half of its `features.pairs.Pairs`; return how many."""
    start = pair_offsets[crystal]
    n_pairs = (pair_offsets[crystal + 1] - start) // 2
    for pair in range(n_pairs):
        scratch.first[pair] = center[start + pair] - offsets[crystal]
        scratch.second[pair] = neighbor[start + pair] - offsets[crystal]
        scratch.distance[pair] = distance[start + pair]
    return n_pairs


@njit(nogil=True, cache=True)
def number_elements(numbers, scratch):
    """Number the elements of a crystal and return how many there are."""
    scratch.number[:] = FREE
    found = 0
    for number in numbers:
        if scratch.number[number] == FREE:
            scratch.number[number] = found
            scratch.elements[found] = number
            found += 1
    return found


@njit(nogil=True, cache=True, error_model="numpy")
def merge(numbers, n_pairs, n_elements, scratch):
    """Write the distinct pairs and how often each occurs; return how many there are."""
    first, second, distance, keys, places, kinds, length, times, of_kind, index, _ = scratch
    slots = _slots(n_pairs)
    keys[:slots] = FREE
    of_kind[: n_elements * n_elements] = 0
    found = 0
    for pair in range(n_pairs):
        s, t = index[numbers[first[pair]]], index[numbers[second[pair]]]
        kind = min(s, t) * n_elements + max(s, t)
        key = (kind << 40) | np.int64(distance[pair] / QUANTUM + 0.5)
        slot = ((key * HASH) >> 32) & (slots - 1)
        while keys[slot] != FREE and keys[slot] != key:  # `in` takes much longer
            slot = (slot + 1) & (slots - 1)
        if keys[slot] == key:
            times[places[slot]] += 1
        else:
            keys[slot], places[slot] = key, found
            kinds[found], length[found] = kind, distance[pair]
            times[found] = 1
            of_kind[kind] += 1
            found += 1
    return found


@njit(nogil=True, cache=True)
def merge_graphs(
    numbers, offsets, center, neighbor, distance, pair_offsets, room, first, second, length, times
):
    """Write the distinct pairs of B crystals; return (B + 1,), the first pair of each.

    `first` and `second` receive the atomic numbers of a pair, `length` its distance (Å), `times`
    how often it occurs. No crystal may have more than `room` unordered pairs.
    """
    scratch = make_scratch(room)
    bounds = np.zeros(len(offsets), np.int64)
    for crystal in range(len(offsets) - 1):
        n_pairs = fill(scratch, crystal, offsets, center, neighbor, distance, pair_offsets)
        own = numbers[offsets[crystal] : offsets[crystal + 1]]
        n_elements = number_elements(own, scratch)
        found = merge(own, n_pairs, n_elements, scratch)
        start = bounds[crystal]
        for pair in range(found):
            kind = scratch.kind[pair]
            first[start + pair] = scratch.elements[kind // n_elements]
            second[start + pair] = scratch.elements[kind % n_elements]
            length[start + pair] = scratch.length[pair]
            times[start + pair] = scratch.times[pair]
        bounds[crystal + 1] = start + found
    return bounds
