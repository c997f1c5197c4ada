"""Compiled loops of inference: from crystals to pooled hidden vectors, a crystal at a time.

The hidden vector of a crystal is the mean of ReLU(A[Z_i] + B[Z_j] + C(d)) over its ordered pairs,
F numbers. Pairs of the same two elements and the same distance, of which symmetric crystals have
many, are counted and computed once. What is left is sorted by its two elements, so that A[Z_i] +
B[Z_j] is made once for all of them and a pair costs one look at the table of C: with
m = -(A[Z_i] + B[Z_j]), ReLU(C - m) = max(C, m) - m.

The functions hold no Python lock and start no threads: the caller splits the work.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from emrl_ray.crystals.geometry.kernels import NO_ROOM, search
from emrl_ray.features.inference.merge_kernels import (
    ELEMENTS,
    fill,
    make_scratch,
    merge,
    number_elements,
)

COMPILED_IN = "57af002b1a44a80d"
"""Hash of `crystals.geometry.kernels` and `merge_kernels`, which are compiled into these loops. numba stamps what
it keeps on disk with the content of this file alone, so a change in those has to change this one;
`tests/test_compiled.py` says the value."""
FAST = {"reassoc", "contract", "nsz", "arcp"}
BLOCK = 64
"""Pairs whose sum is kept in single precision."""


class Tables(NamedTuple):
    """A pair network's first layer with batch norm folded in, F features."""

    center: NDArray[np.float32]
    """A, (119, F)."""
    neighbor: NDArray[np.float32]
    """B, (119, F)."""
    bond: NDArray[np.float32]
    """C at the knots, (K, F)."""
    knots: NDArray[np.float64]
    """(K,) Å, ascending from 0; knot k is less than half a spacing away from k · `spacing`."""
    spacing: float
    """Å."""


class Sorted(NamedTuple):
    """Memory for the distinct pairs of a crystal, sorted by kind, and for F features."""

    length: NDArray[np.float64]
    times: NDArray[np.float32]
    """Distance of a pair, Å, and how often it occurs."""
    ends: NDArray[np.int64]
    """End of each kind's run."""
    floor: NDArray[np.float32]
    other_floor: NDArray[np.float32]
    """-(A[Z_i] + B[Z_j]) of two elements, in both orders."""
    part: NDArray[np.float32]
    """A sum over pairs."""


@njit(nogil=True, cache=True)
def pool_crystals(tables, cutoff, lattice, coords, numbers, offsets, start, stop, room, pooled):
    """Write the hidden vectors of the crystals `start:stop` into their rows of `pooled` (B, F) f8.

    Returns the first crystal that was not done because it has more than `room` pairs, or `stop`. A
    crystal without pairs gets NaN.
    """
    scratch, kinds = make_scratch(room), _make_sorted(room, pooled.shape[1])
    for crystal in range(start, stop):
        atoms = slice(offsets[crystal], offsets[crystal + 1])
        n_pairs = search(
            lattice[crystal],
            coords[atoms],
            cutoff,
            scratch.first,
            scratch.second,
            scratch.distance,
        )
        if n_pairs == NO_ROOM:
            return crystal
        _pool(tables, numbers[atoms], n_pairs, scratch, kinds, pooled[crystal])
    return stop


@njit(nogil=True, cache=True)
def pool_graphs(
    tables, numbers, offsets, center, neighbor, distance, pair_offsets, start, stop, room, pooled
):
    """The same for crystals whose ordered pairs are known, in the order of `features.pairs.Pairs`.

    None of them may have more than `room` unordered pairs.
    """
    scratch, kinds = make_scratch(room), _make_sorted(room, pooled.shape[1])
    for crystal in range(start, stop):
        n_pairs = fill(scratch, crystal, offsets, center, neighbor, distance, pair_offsets)
        atoms = slice(offsets[crystal], offsets[crystal + 1])
        _pool(tables, numbers[atoms], n_pairs, scratch, kinds, pooled[crystal])


@njit(nogil=True, cache=True)
def _make_sorted(room, width):
    return Sorted(
        np.empty(room),
        np.empty(room, np.float32),
        np.empty(ELEMENTS * ELEMENTS, np.int64),
        np.empty(width, np.float32),
        np.empty(width, np.float32),
        np.empty(width, np.float32),
    )


@njit(nogil=True, cache=True)
def _pool(tables, numbers, n_pairs, scratch, kinds, pooled):
    """Write the hidden vector of the crystal whose unordered pairs `scratch` holds."""
    if n_pairs == 0:
        pooled[:] = np.nan
        return
    n_elements = number_elements(numbers, scratch)
    n_kinds = n_elements * n_elements
    n_distinct = merge(numbers, n_pairs, n_elements, scratch)
    _sort(n_distinct, n_kinds, scratch, kinds)
    # Taken out here: within the loop numba would count references, and threads wait for each other.
    center, neighbor, bond, knots, spacing = tables
    length, times, ends, floor, other_floor, part = kinds
    elements = scratch.elements
    pooled[:] = 0
    start = 0
    for kind in range(n_kinds):
        stop = ends[kind]
        if start < stop:
            _add_kind(
                center,
                neighbor,
                bond,
                knots,
                spacing,
                elements[kind // n_elements],
                elements[kind % n_elements],
                length,
                times,
                start,
                stop,
                floor,
                other_floor,
                part,
                pooled,
            )
        start = stop
    pooled /= 2 * n_pairs


@njit(nogil=True, cache=True)
def _sort(n_distinct, n_kinds, scratch, kinds):
    """Sort the distinct pairs by kind."""
    ends = kinds.ends
    start = 0
    for kind in range(n_kinds):
        ends[kind] = start
        start += scratch.of_kind[kind]
    for pair in range(n_distinct):
        place = ends[scratch.kind[pair]]
        kinds.length[place] = scratch.length[pair]
        kinds.times[place] = scratch.times[pair]
        ends[scratch.kind[pair]] += 1


@njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _add_kind(
    center,
    neighbor,
    bond,
    knots,
    spacing,
    i,
    j,
    length,
    times,
    first,
    end,
    floor,
    other_floor,
    part,
    pooled,
):
    """Add the activations of the pairs `first:end`, of the elements i and j, in both orders."""
    width = len(pooled)
    for f in range(width):
        floor[f] = -(center[i, f] + neighbor[j, f])
        other_floor[f] = -(center[j, f] + neighbor[i, f])
    for start in range(first, end, BLOCK):
        stop = min(start + BLOCK, end)
        part[:] = 0
        for pair in range(start, stop, 2):  # two at a time: half the traffic with `part`
            other = min(pair + 1, stop - 1)
            times_n, times_m = times[pair], times[other] * np.float32(other > pair)
            n, left_n, right_n = _place(length[pair], knots, spacing)
            m, left_m, right_m = _place(length[other], knots, spacing)
            for f in range(width):
                one = left_n * bond[n, f] + right_n * bond[n + 1, f]
                two = left_m * bond[m, f] + right_m * bond[m + 1, f]
                part[f] += times_n * (max(one, floor[f]) + max(one, other_floor[f])) + times_m * (
                    max(two, floor[f]) + max(two, other_floor[f])
                )
        total = np.float32(0)
        for pair in range(start, stop):
            total += times[pair]
        for f in range(width):
            pooled[f] += part[f] - total * (floor[f] + other_floor[f])


@njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _place(distance, knots, spacing):
    """Return the knot below a distance, and the weights of it and of the next one."""
    knot = min(int(distance / spacing), len(knots) - 2)
    if distance < knots[knot]:
        knot -= 1
    elif distance >= knots[knot + 1]:
        knot = min(knot + 1, len(knots) - 2)
    right = np.float32((distance - knots[knot]) / (knots[knot + 1] - knots[knot]))
    return knot, np.float32(1) - right, right
