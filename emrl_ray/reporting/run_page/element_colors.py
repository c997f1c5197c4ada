"""A colour for each element: the customary one where there is one, else one unlike its neighbours'."""

from __future__ import annotations

import colorsys

from emrl_ray.crystals.elements import SYMBOLS

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


def element_color(number: int) -> str:
    """Return the colour of the element with an atomic number, grey for what is none."""
    if not 1 <= number <= len(SYMBOLS):
        return "#999999"
    if customary := CUSTOMARY.get(SYMBOLS[number - 1]):
        return customary
    return _hex(*colorsys.hls_to_rgb(number * GOLDEN % 1, 0.62, 0.45))


def tint(color: str, towards: float, part: float) -> str:
    """Return a colour mixed with `part` of a grey: 1 is white, 0 black."""
    parts = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (value + part * (towards - value) for value in parts)
    return _hex(red, green, blue)


def _hex(red: float, green: float, blue: float) -> str:
    return "#" + "".join(f"{round(255 * value):02x}" for value in (red, green, blue))
