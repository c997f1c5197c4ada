"""Compiled loops over pairs: the sums that a pair network's first layer needs.

A pair (i, j) of a crystal has the pre-activation x = A[Z_i] + B[Z_j] + C(d), F numbers. The loops
make x anew from the tables each time, because that costs less than reading it from memory, and keep
only sums over the pairs of a crystal. They take each distinct unordered pair once (`first`, `second` are
its atomic numbers, `bond` its row C(d)), in both orders, and count it `times` times.

Every function computes the crystals `start:stop` only, holds no Python lock, and starts no threads:
the caller splits the work. Shapes: U distinct pairs, B crystals, K passes (sets of batch
statistics), F features; `bounds` (B + 1,) delimits each crystal's distinct pairs.
"""

from __future__ import annotations

import numpy as np
from numba import njit

FAST = {"reassoc", "contract", "nsz", "arcp"}
BLOCK = 64


@njit(nogil=True, cache=True, fastmath=FAST)
def pair_moments(center, neighbor, bond, first, second, times, bounds, start, stop, total, squares):
    """Add up x and x² over the ordered pairs of each crystal into `total`, `squares` (B, F) f8."""
    width = center.shape[1]
    part = np.zeros(width, bond.dtype)
    part_squares = np.zeros(width, bond.dtype)
    for crystal in range(start, stop):
        for block in range(bounds[crystal], bounds[crystal + 1], BLOCK):
            part[:] = 0
            part_squares[:] = 0
            for pair in range(block, min(block + BLOCK, bounds[crystal + 1])):
                i, j, n = first[pair], second[pair], times[pair]
                for f in range(width):
                    x = center[i, f] + neighbor[j, f] + bond[pair, f]
                    y = center[j, f] + neighbor[i, f] + bond[pair, f]
                    part[f] += n * (x + y)
                    part_squares[f] += n * (x * x + y * y)
            for f in range(width):
                total[crystal, f] += part[f]
                squares[crystal, f] += part_squares[f]


@njit(nogil=True, cache=True, fastmath=FAST)
def active_sums(
    center, neighbor, bond, first, second, times, bounds, start, stop, scale, shift, count, total
):
    """Add up, over the ordered pairs with scale·x + shift > 0, 1 and x.

    `scale`, `shift` (K, F) are one set a pass; `count`, `total` (K, B, F) f8 receive the sums, so
    that the sum of ReLU(scale·x + shift) is scale·total + shift·count.
    """
    width = center.shape[1]
    passes = scale.shape[0]
    x = np.empty(width, bond.dtype)
    y = np.empty(width, bond.dtype)
    part = np.zeros((passes, width), bond.dtype)
    part_count = np.zeros((passes, width), bond.dtype)
    none = bond.dtype.type(0)
    for crystal in range(start, stop):
        for block in range(bounds[crystal], bounds[crystal + 1], BLOCK):
            part[:] = 0
            part_count[:] = 0
            for pair in range(block, min(block + BLOCK, bounds[crystal + 1])):
                i, j, n = first[pair], second[pair], times[pair]
                for f in range(width):
                    x[f] = center[i, f] + neighbor[j, f] + bond[pair, f]
                    y[f] = center[j, f] + neighbor[i, f] + bond[pair, f]
                for k in range(passes):
                    for f in range(width):
                        on_x = n if scale[k, f] * x[f] + shift[k, f] > 0 else none
                        on_y = n if scale[k, f] * y[f] + shift[k, f] > 0 else none
                        part[k, f] += on_x * x[f] + on_y * y[f]
                        part_count[k, f] += on_x + on_y
            for k in range(passes):
                for f in range(width):
                    count[k, crystal, f] += part_count[k, f]
                    total[k, crystal, f] += part[k, f]


@njit(nogil=True, cache=True, fastmath=FAST)
def pair_gradients(
    center,
    neighbor,
    bond,
    first,
    second,
    times,
    bounds,
    start,
    stop,
    scale,
    shift,
    active,
    constant,
    slope,
    center_gradient,
    neighbor_gradient,
    bond_gradient,
):
    """Carry gradients of the sums back to the tables.

    The gradient at a pair's x is constant + slope·x + Σ_k [scale_k·x + shift_k > 0] active_k, with
    `active` (K, B, F) and `constant`, `slope` (B, F). It is added to the rows of
    `center_gradient`, `neighbor_gradient` (119, F) and written to `bond_gradient` (U, F).
    """
    width = center.shape[1]
    passes = scale.shape[0]
    x = np.empty(width, bond.dtype)
    y = np.empty(width, bond.dtype)
    dx = np.empty(width, bond.dtype)
    dy = np.empty(width, bond.dtype)
    none = bond.dtype.type(0)
    for crystal in range(start, stop):
        for pair in range(bounds[crystal], bounds[crystal + 1]):
            i, j, n = first[pair], second[pair], times[pair]
            for f in range(width):
                x[f] = center[i, f] + neighbor[j, f] + bond[pair, f]
                y[f] = center[j, f] + neighbor[i, f] + bond[pair, f]
                dx[f] = constant[crystal, f] + slope[crystal, f] * x[f]
                dy[f] = constant[crystal, f] + slope[crystal, f] * y[f]
            for k in range(passes):
                for f in range(width):
                    gain = active[k, crystal, f]
                    dx[f] += gain if scale[k, f] * x[f] + shift[k, f] > 0 else none
                    dy[f] += gain if scale[k, f] * y[f] + shift[k, f] > 0 else none
            for f in range(width):
                dx[f] *= n
                dy[f] *= n
                bond_gradient[pair, f] = dx[f] + dy[f]
                center_gradient[i, f] += dx[f]
                neighbor_gradient[j, f] += dx[f]
            for f in range(width):
                center_gradient[j, f] += dy[f]
                neighbor_gradient[i, f] += dy[f]
