"""Structure types of simple ionic crystals, in primitive cells of lattice constant 1."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CLOSE_PACKED = math.sqrt(8 / 3)
"""Ratio c/a of close-packed hexagonal layers."""
RUTILE_C_OVER_A, RUTILE_U = 0.644, 0.305
"""Axes and anion coordinate of TiO2."""
SPINEL_U = 0.2625
"""Anion coordinate of MgAl2O4, from the inversion centre."""


class Kind(NamedTuple):
    """The equivalent sites of a prototype that one ion takes."""

    sign: int
    """1 for cations, -1 for anions."""
    coordination: int
    """Number of nearest ions of the other sign; it chooses the ionic radius."""
    sites: NDArray[np.float64]
    """(n, 3) fractional coordinates in the primitive cell."""


class Prototype(NamedTuple):
    """A structure type; which ions stand on its sites is left open."""

    name: str
    space_group: int
    """International number."""
    cell: NDArray[np.float64]
    """(3, 3) primitive lattice vectors as rows, in lattice constants."""
    kinds: tuple[Kind, ...]
    """K kinds of sites, one ion each."""

    @property
    def stoichiometry(self) -> NDArray[np.int64]:
        """(K,) sites of each kind in the cell."""
        return np.array([len(kind.sites) for kind in self.kinds])

    @property
    def site_kinds(self) -> NDArray[np.int64]:
        """(N,) index of the kind of each site."""
        return np.repeat(np.arange(len(self.kinds)), self.stoichiometry)

    @property
    def frac_coords(self) -> NDArray[np.float64]:
        """(N, 3) fractional coordinates of the sites, kind after kind."""
        return np.concatenate([kind.sites for kind in self.kinds])

    def shortest_distances(self) -> NDArray[np.float64]:
        """Return (K, K) shortest distances between sites of two kinds, in lattice constants.

        The diagonal holds the shortest distance between two different sites of a kind.
        """
        shifts = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
        coords, kinds = self.frac_coords, self.site_kinds
        steps = coords[None, :, None] - coords[:, None, None] + shifts
        distances = np.linalg.norm(steps @ self.cell, axis=-1)
        distances[distances < 1e-9] = np.inf
        shortest = np.full((len(self.kinds), len(self.kinds)), np.inf)
        np.minimum.at(shortest, (kinds[:, None], kinds[None, :]), distances.min(axis=-1))
        return shortest


def prototypes() -> tuple[Prototype, ...]:
    """Return the structure types from which libraries are generated.

    Ideal axes and internal coordinates, those of the named compound where symmetry leaves them
    free: Wyckoff positions as in the International Tables.
    """
    cubic, face_centred = np.eye(3), np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    hexagonal = np.array([[1, 0, 0], [-0.5, math.sqrt(3) / 2, 0], [0, 0, CLOSE_PACKED]])
    tetragonal = np.diag([1, 1, RUTILE_C_OVER_A])
    origin, centre = _sites([0, 0, 0]), _sites([1 / 2, 1 / 2, 1 / 2])
    quarter, three_quarters = origin + 1 / 4, origin + 3 / 4
    faces = centre - np.eye(3) / 2
    edges = np.eye(3) / 2
    both_quarters = np.concatenate([quarter, three_quarters])
    layers = _sites([0, 0, 0], [0, 0, 1 / 2])
    hollows = _sites([1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 1 / 2])
    return (
        Prototype("rock_salt", 225, face_centred, (Kind(1, 6, origin), Kind(-1, 6, centre))),
        Prototype("cesium_chloride", 221, cubic, (Kind(1, 8, origin), Kind(-1, 8, centre))),
        Prototype("zinc_blende", 216, face_centred, (Kind(1, 4, origin), Kind(-1, 4, quarter))),
        Prototype(
            "wurtzite",
            186,
            hexagonal,
            (Kind(1, 4, hollows), Kind(-1, 4, hollows + _sites([0, 0, 3 / 8]))),
        ),
        Prototype("nickel_arsenide", 194, hexagonal, (Kind(1, 6, layers), _between_layers())),
        Prototype("fluorite", 225, face_centred, (Kind(1, 8, origin), Kind(-1, 4, both_quarters))),
        Prototype(
            "antifluorite", 225, face_centred, (Kind(1, 4, both_quarters), Kind(-1, 8, origin))
        ),
        Prototype("rutile", 136, tetragonal, _rutile()),
        Prototype("cadmium_iodide", 164, hexagonal, (Kind(1, 6, origin), _between_layers(3))),
        Prototype("rhenium_trioxide", 221, cubic, (Kind(1, 6, origin), Kind(-1, 2, edges))),
        Prototype(
            "half_heusler",
            216,
            face_centred,
            (Kind(1, 4, centre), Kind(1, 4, origin), Kind(-1, 8, quarter)),
        ),
        Prototype(
            "perovskite",
            221,
            cubic,
            (Kind(1, 12, origin), Kind(1, 6, centre), Kind(-1, 6, faces)),
        ),
        Prototype(
            "antiperovskite",
            221,
            cubic,
            (Kind(1, 6, faces), Kind(-1, 6, centre), Kind(-1, 12, origin)),
        ),
        Prototype("spinel", 227, face_centred, _spinel(face_centred)),
    )


def _sites(*rows: list[float]) -> NDArray[np.float64]:
    return np.array(rows, dtype=np.float64)


def _between_layers(coordination: int = 6) -> Kind:
    """Return close-packed anions between layers of cations."""
    return Kind(-1, coordination, _sites([1 / 3, 2 / 3, 1 / 4], [2 / 3, 1 / 3, 3 / 4]))


def _rutile() -> tuple[Kind, ...]:
    u = RUTILE_U
    cations = _sites([0, 0, 0], [1 / 2, 1 / 2, 1 / 2])
    anions = _sites([u, u, 0], [1 - u, 1 - u, 0])
    turned = _sites([1 / 2 + u, 1 / 2 - u, 1 / 2], [1 / 2 - u, 1 / 2 + u, 1 / 2])
    return Kind(1, 6, cations), Kind(-1, 3, np.concatenate([anions, turned]))


def _spinel(cell: NDArray[np.float64]) -> tuple[Kind, ...]:
    """Return the sites 8a, 16d and 32e of Fd-3m (origin at -3m) in the primitive `cell`."""
    u, v = SPINEL_U, 1 / 4 - SPINEL_U
    tetrahedral = _sites([1 / 8] * 3, [7 / 8] * 3)
    octahedral = np.concatenate([_sites([1 / 2] * 3), 1 / 4 + np.eye(3) / 4])
    anions = np.concatenate([_sites([u] * 3), v + (u - v) * np.eye(3)])
    cartesian = (tetrahedral, octahedral, np.concatenate([anions, -anions]))
    primitive = [np.mod((sites @ np.linalg.inv(cell)).round(12), 1) for sites in cartesian]
    return tuple(
        Kind(sign, coordination, sites)
        for sign, coordination, sites in zip((1, 1, -1), (4, 6, 4), primitive, strict=True)
    )
