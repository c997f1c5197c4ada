"""The pairs of each atom with its nearest neighbours."""

from __future__ import annotations

import numpy as np

from emrl_ray.features.graphs import Graphs
from emrl_ray.features.pairs import Pairs

TIE = 1e-3
"""Å; neighbours that are farther than the last one by less than this are as near as it."""


def nearest_pairs(graphs: Graphs, count: int) -> Graphs:
    """Return the graphs with the ordered pairs of each atom and its `count` nearest neighbours.

    All neighbours as near as the last of them count too, so that which are kept does not depend on
    the order of the atoms or on the cell. Nearest to farthest, atom by atom.
    """
    pairs = graphs.pairs
    order = np.lexsort((pairs.distance, pairs.center))
    center, distance = pairs.center[order], pairs.distance[order]
    first = np.searchsorted(center, np.arange(len(graphs.atomic_numbers) + 1))
    last = np.minimum(first[:-1] + count, first[1:]) - 1
    reach = np.full(len(first) - 1, -np.inf)
    paired = first[1:] > first[:-1]
    reach[paired] = distance[last[paired]] + TIE
    near = distance <= reach[center]
    kept = np.concatenate([np.zeros(1, np.int64), np.cumsum(near)])
    chosen = order[near]
    return graphs._replace(
        pairs=Pairs(center[near], pairs.neighbor[chosen], distance[near], kept[pairs.offsets])
    )
