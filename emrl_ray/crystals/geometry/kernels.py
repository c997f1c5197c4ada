"""Compiled search for the pairs of sites within a distance.

It goes through whole images of the cell. The sites are sorted along the axis of the most distant
lattice planes, so that of each image only a run of them is visited; those near enough are noted
without a branch. There is no cell list: time goes like the number of pairs for cells of up to
some hundred sites.

The functions hold no Python lock and start no threads.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

TOLERANCE = 1e-8
"""Distances up to the cutoff and this (Å) count."""
MARGIN = 1e-9
"""Added to fractional distances, whose rounding must not lose a site that is near enough."""
NO_ROOM = -1


@njit(nogil=True, cache=True)
def search_on(crystal, lattice, coords, offsets, cutoff, first, second, distance, bounds):
    """Search one crystal after another from `crystal` on; return the first that had no room."""
    while crystal < len(lattice):
        start = bounds[crystal]
        sites = slice(offsets[crystal], offsets[crystal + 1])
        found = search(
            lattice[crystal], coords[sites], cutoff, first[start:], second[start:], distance[start:]
        )
        if found == NO_ROOM:
            break
        for pair in range(start, start + found):
            first[pair] += sites.start
            second[pair] += sites.start
        bounds[crystal + 1] = start + found
        crystal += 1
    return crystal


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def search(lattice, coords, cutoff, first, second, distance):
    """Write the pairs of N sites within `cutoff`, each once, and return how many there are.

    `lattice` (3, 3) Å, `coords` (N, 3) fractional. `first`, `second` and `distance` receive the
    sites and the distances (Å); if they may be too short the result is `NO_ROOM`.
    """
    if len(coords) == 0:
        return 0
    limit = cutoff + TOLERANCE
    reach = _reach(lattice, limit)
    axes = np.argsort(reach)
    basis, reach = lattice[axes], reach[axes]
    order, fractional, (x, y, z) = _sorted_sites(coords, axes, basis)
    images = _forward_images(basis, reach, limit)
    u, v, w = fractional
    v_range, w_range = (v.min(), v.max()), (w.min(), w.max())
    found = 0
    for i in range(len(order)):
        if found + len(images) > len(first):
            return NO_ROOM
        for image in images:
            first[found] = second[found] = order[i]
            distance[found] = image
            found += 1
        for a in range(math.ceil(u[i] - u[-1] - reach[0]), math.floor(u[i] - u[0] + reach[0]) + 1):
            start = _count_below(u, u[i] - a - reach[0], i + 1)
            stop = _count_below(u, u[i] - a + reach[0], start)
            if start == stop:
                continue
            for b in range(
                math.ceil(v[i] - v_range[1] - reach[1]),
                math.floor(v[i] - v_range[0] + reach[1]) + 1,
            ):
                for c in range(
                    math.ceil(w[i] - w_range[1] - reach[2]),
                    math.floor(w[i] - w_range[0] + reach[2]) + 1,
                ):
                    if found + stop - start > len(first):
                        return NO_ROOM
                    shift_x = a * basis[0, 0] + b * basis[1, 0] + c * basis[2, 0] - x[i]
                    shift_y = a * basis[0, 1] + b * basis[1, 1] + c * basis[2, 1] - y[i]
                    shift_z = a * basis[0, 2] + b * basis[1, 2] + c * basis[2, 2] - z[i]
                    for j in range(start, stop):
                        square = (
                            (x[j] + shift_x) ** 2 + (y[j] + shift_y) ** 2 + (z[j] + shift_z) ** 2
                        )
                        first[found] = order[i]
                        second[found] = order[j]
                        distance[found] = square
                        found += square <= limit * limit  # the next pair overwrites one too far
    for pair in range(found):
        distance[pair] = math.sqrt(distance[pair])
    return found


@njit(nogil=True, cache=True, error_model="numpy")
def _reach(lattice, limit):
    """Return `limit` in units of the distances of the planes (100), (010), (001), and a margin."""
    reach = np.empty(3)
    for axis in range(3):
        p, q = lattice[(axis + 1) % 3], lattice[(axis + 2) % 3]
        x, y, z = p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]
        volume = abs(x * lattice[axis, 0] + y * lattice[axis, 1] + z * lattice[axis, 2])
        reach[axis] = limit * math.sqrt(x * x + y * y + z * z) / volume + MARGIN
    return reach


@njit(nogil=True, cache=True, error_model="numpy")
def _sorted_sites(coords, axes, basis):
    """Return (order, fractional (3, N), Cartesian (3, N)): the sites within the cell, sorted.

    They are sorted along the first of `axes`; `order` is their place in `coords`.
    """
    order = np.argsort(coords[:, axes[0]] - np.floor(coords[:, axes[0]]))
    fractional, cartesian = np.empty((3, len(coords))), np.zeros((3, len(coords)))
    for place, site in enumerate(order):
        for axis in range(3):
            wrapped = coords[site, axes[axis]] - math.floor(coords[site, axes[axis]])
            fractional[axis, place] = wrapped
            for direction in range(3):
                cartesian[direction, place] += wrapped * basis[axis, direction]
    return order, fractional, cartesian


@njit(nogil=True, cache=True, error_model="numpy")
def _forward_images(basis, reach, limit):
    """Return the squared lengths of the lattice vectors within `limit`, one of each ±pair."""
    room = 1
    for axis in range(3):
        room *= 2 * int(reach[axis]) + 1
    squares = np.empty(room)
    found = 0
    for a in range(int(reach[0]) + 1):
        for b in range(-int(reach[1]) if a else 0, int(reach[1]) + 1):
            for c in range(-int(reach[2]) if a or b else 1, int(reach[2]) + 1):
                square = 0.0
                for direction in range(3):
                    square += (
                        a * basis[0, direction] + b * basis[1, direction] + c * basis[2, direction]
                    ) ** 2
                squares[found] = square
                found += square <= limit * limit
    return squares[:found]


@njit(nogil=True, cache=True)
def _count_below(values, goal, start):
    """Return how many of the ascending `values` lie below `goal`, but at least `start`."""
    stop = len(values)
    while start < stop:
        middle = (start + stop) // 2
        if values[middle] < goal:
            start = middle + 1
        else:
            stop = middle
    return start
