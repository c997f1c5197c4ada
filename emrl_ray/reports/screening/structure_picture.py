"""A picture of a unit cell as a small SVG: shaded atoms, the nearer before the farther, and edges."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emrl_ray.crystals.elements import MAX_ATOMIC_NUMBER, SYMBOLS
from emrl_ray.features.element_properties import default_csv, property_columns
from emrl_ray.reports.markup import text

SIZE, MARGIN = 120, 4
"""Side of a picture and its margin, pixels."""
MAX_ATOMS = 90
"""Atoms of a picture; of more, those nearest to the eye are drawn."""
JUDGED_ATOMS = 200
"""Atoms that decide from where a cell is looked at."""
RADIUS_PART = 0.5
"""Radius of a drawn atom in covalent radii: neighbours do not hide each other."""
UNKNOWN_RADIUS = {1: 0.4}
"""Å, for the elements whose covalent radius is not in the table."""
ON_FACE = 0.02
"""Fraction of the cell within which an atom is on a face, and is drawn on the opposite one too."""
DIRECTIONS = [
    (azimuth, elevation) for azimuth in (-75, -68, -60, -50) for elevation in (10, 18, 28)
]
"""Directions to look from, degrees: around the vertical from the x axis, and above the horizon."""
CUSTOMARY = {
    "H": "#f0f0f0", "Li": "#b57fe0", "B": "#f2a6a0", "C": "#5a5a5a", "N": "#4c66e0",
    "O": "#e0301e", "F": "#8fd14f", "Na": "#9a62d8", "Mg": "#7fc93e", "Al": "#b9a7a7",
    "Si": "#dcb98a", "P": "#f08a1d", "S": "#ecd13a", "Cl": "#3dbd45", "K": "#8247c4",
    "Ca": "#4fae3a", "Ti": "#a9b1ba", "Fe": "#cf6a2e", "Co": "#e683a4", "Ni": "#52b788",
    "Cu": "#c27a46", "Zn": "#7d85b8", "Se": "#f0a030", "Br": "#9c3a2a", "Rb": "#7036b0",
    "Sr": "#3b9a3f", "Ag": "#c3c7cc", "I": "#8a2d96", "Cs": "#5c2b9c", "Ba": "#2b8540",
    "Au": "#e6c22f", "Hg": "#b4b8d6", "Pb": "#5b5f68",
}  # fmt: skip
GOLDEN = 0.618034
"""Steps of this part of the colour circle keep any number of hues apart."""


class StructurePictures:
    """Draws unit cells, and keeps which elements they have for the definitions that they share."""

    def __init__(self) -> None:
        radii = property_columns(default_csv())["covalent_radius_bragg_pm"] / 100
        self._radii = np.full(MAX_ATOMIC_NUMBER + 1, 1.4)
        self._radii[1:] = np.where(np.isnan(radii), 1.4, radii)
        for number, radius in UNKNOWN_RADIUS.items():
            self._radii[number] = radius
        self._elements: set[int] = set()

    def draw(
        self, lattice: ArrayLike, atomic_numbers: ArrayLike, frac_coords: ArrayLike, name: str
    ) -> str:
        """Return the picture of a crystal: lattice (3, 3) in Å, N atoms; `name` is what it is called.

        The view does not depend on how the lattice lies in space. Empty if there is nothing to draw.
        """
        rows = np.asarray(lattice, np.float64).reshape(3, 3)
        numbers = np.asarray(atomic_numbers, np.int64).reshape(-1)
        fractions = np.asarray(frac_coords, np.float64).reshape(-1, 3)
        if not len(numbers) or len(numbers) != len(fractions):
            return ""
        if not np.isfinite(rows).all() or not np.isfinite(fractions).all():
            return ""
        if abs(np.linalg.det(rows)) < 1e-3:
            return ""
        numbers = np.where((numbers > 0) & (numbers <= MAX_ATOMIC_NUMBER), numbers, 0)
        self._elements |= set(numbers.tolist())
        picture = _Picture(_upright(rows), *_with_images(numbers, fractions % 1), self._radii)
        words = f"Unit cell of {name}, {len(numbers)} atoms"
        if picture.hidden:
            words += f"; the {MAX_ATOMS} nearest to the eye are drawn"
        return picture.svg(words) + _key(numbers)

    def definitions(self) -> str:
        """Return the shades of the elements drawn so far, once for all pictures of a page."""
        gradients, rules = [], []
        for number in sorted(self._elements):
            color = _color(number)
            stops = ((0, _tint(color, 1, 0.55)), (0.55, color), (1, _tint(color, 0, 0.35)))
            inner = "".join(f'<stop offset="{at}" stop-color="{shade}"/>' for at, shade in stops)
            gradients.append(
                f'<radialGradient id="z{number}" cx=".36" cy=".32" r=".72">{inner}</radialGradient>'
            )
            rules.append(f".z{number}{{fill:url(#z{number});background:{color}}}")
        return (
            f'<svg class="definitions" width="0" height="0" aria-hidden="true">'
            f"<defs>{''.join(gradients)}</defs></svg><style>{''.join(rules)}</style>"
        )


class _Picture:
    """A cell projected along the best of `DIRECTIONS`, in pixels."""

    def __init__(
        self,
        lattice: NDArray[np.float64],
        numbers: NDArray[np.int64],
        fractions: NDArray[np.float64],
        radii: NDArray[np.float64],
    ) -> None:
        radius = RADIUS_PART * radii[numbers]
        places = fractions @ lattice
        corners = np.array(list(product((0, 1), repeat=3))) @ lattice
        some = slice(0, JUDGED_ATOMS)
        view = min(
            map(_view, DIRECTIONS),
            key=lambda view: _overlap(places[some] @ view.T, radius[some]),
        )
        seen, seen_corners = places @ view.T, corners @ view.T
        low = np.minimum(
            (seen[:, :2] - radius[:, None]).min(axis=0), seen_corners[:, :2].min(axis=0)
        )
        high = np.maximum(
            (seen[:, :2] + radius[:, None]).max(axis=0), seen_corners[:, :2].max(axis=0)
        )
        self.scale = (SIZE - 2 * MARGIN) / float((high - low).max())
        self.center = (low + high) / 2
        order = np.argsort(seen[:, 2], kind="stable")[-MAX_ATOMS:]
        self.hidden = len(seen) - len(order)
        self.numbers, self.radius = numbers[order], radius[order] * self.scale
        self.atoms, self.corners = self._pixels(seen[order]), self._pixels(seen_corners)
        self.nearest_corner = int(seen_corners[:, 2].argmax())

    def _pixels(self, seen: NDArray[np.float64]) -> NDArray[np.float64]:
        flat = (seen[:, :2] - self.center) * self.scale
        return flat * [1, -1] + SIZE / 2

    def svg(self, words: str) -> str:
        """Return the picture; `words` say what it shows."""
        atoms = "".join(
            f'<circle class="z{number}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
            for number, (x, y), radius in zip(self.numbers, self.atoms, self.radius, strict=True)
        )
        far, middle, near = self._edges()
        return (
            f'<svg class="cell" viewBox="0 0 {SIZE} {SIZE}" role="img" aria-label="{text(words)}">'
            f'<path class="edge far" d="{far}"/><path class="edge" d="{middle}"/>{atoms}'
            f'<path class="edge" d="{near}"/></svg>'
        )

    def _edges(self) -> tuple[str, str, str]:
        """Return the three edges that meet farthest from the eye, six others, and the nearest three."""
        paths = ["", "", ""]
        for corner in range(8):
            for bit in (1, 2, 4):
                if not corner & bit:
                    ends = (corner, corner | bit)
                    (x0, y0), (x1, y1) = self.corners[list(ends)]
                    # The farthest corner is opposite to the nearest: all three bits differ.
                    layer = 1 + (self.nearest_corner in ends) - (7 - self.nearest_corner in ends)
                    paths[layer] += f"M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}"
        return paths[0], paths[1], paths[2]


def _upright(lattice: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a lattice turned so that a lies along x, b in the xy plane, and c points upwards."""
    a, b, c = lattice
    up = np.cross(a, b)
    up *= np.sign(up @ c) / np.linalg.norm(up)
    x = a / np.linalg.norm(a)
    return lattice @ np.stack([x, np.cross(up, x), up]).T


def _view(direction: tuple[int, int]) -> NDArray[np.float64]:
    """Return the axes (3, 3) of a view: to the right, upwards, towards the eye."""
    azimuth, elevation = np.radians(direction)
    (sin_a, cos_a), (sin_e, cos_e) = (
        (np.sin(angle), np.cos(angle)) for angle in (azimuth, elevation)
    )
    return np.array(
        [
            [-sin_a, cos_a, 0],
            [-sin_e * cos_a, -sin_e * sin_a, cos_e],
            [cos_e * cos_a, cos_e * sin_a, sin_e],
        ]
    )


def _overlap(seen: NDArray[np.float64], radius: NDArray[np.float64]) -> float:
    """Return how much atoms hide each other, Å: the sum over pairs of what their circles share."""
    gaps = seen[:, None, :2] - seen[None, :, :2]
    distance = np.sqrt((gaps**2).sum(axis=-1))
    return float((radius[:, None] + radius[None, :] - distance).clip(min=0).sum())


def _with_images(
    numbers: NDArray[np.int64], fractions: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the atoms, with those on a face on the opposite one too, unless that makes too many."""
    wrapped = np.where(fractions > 1 - ON_FACE, fractions - 1, fractions)
    images = [
        (wrapped[atoms] + shift, numbers[atoms])
        for shift in np.array(list(product((0, 1), repeat=3)))
        for atoms in [((wrapped < ON_FACE) | (shift == 0)).all(axis=1)]
    ]
    if sum(len(found) for _, found in images) > MAX_ATOMS:
        return numbers, wrapped
    return np.concatenate([found for _, found in images]), np.concatenate(
        [places for places, _ in images]
    )


def _key(numbers: Iterable[int]) -> str:
    """Return which colour is which element."""
    items = "".join(
        f'<span><i class="z{number}"></i>{SYMBOLS[number - 1] if number else "?"}</span>'
        for number in sorted({int(number) for number in numbers})
    )
    return f'<span class="key" aria-hidden="true">{items}</span>'


def _color(number: int) -> str:
    """Return the colour of the element with an atomic number, grey for what is none."""
    if not 1 <= number <= len(SYMBOLS):
        return "#999999"
    if customary := CUSTOMARY.get(SYMBOLS[number - 1]):
        return customary
    return _hex(*colorsys.hls_to_rgb(number * GOLDEN % 1, 0.62, 0.45))


def _tint(color: str, towards: float, part: float) -> str:
    """Return a colour mixed with `part` of a grey: 1 is white, 0 black."""
    parts = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (value + part * (towards - value) for value in parts)
    return _hex(red, green, blue)


def _hex(red: float, green: float, blue: float) -> str:
    return "#" + "".join(f"{round(255 * value):02x}" for value in (red, green, blue))
