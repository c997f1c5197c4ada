"""Ions: common oxidation states and tabulated ionic radii."""

from __future__ import annotations

import csv
import io
from importlib import resources
from typing import NamedTuple

import numpy as np

COORDINATIONS = (4, 6, 8, 12)
"""Coordination numbers for which the table has a column."""


class Ion(NamedTuple):
    """An element in one of its common oxidation states."""

    element: str
    atomic_number: int
    charge: int
    """Formal charge, e."""
    radii: dict[int, float]
    """Coordination number → radius in Å, those that are tabulated."""
    rank: int
    """0 for the element's most common oxidation state, 1 for the next, and so on."""

    def radius(self, coordination: float) -> float:
        """Return the radius in Å at a coordination number.

        It is interpolated between the tabulated ones and constant beyond the first and the last.
        """
        return float(np.interp(coordination, list(self.radii), list(self.radii.values())))


def read_ions() -> list[Ion]:
    """Return the package's ions; the states of an element stand by how common they are.

    Radii: R. D. Shannon, Acta Cryst. A32, 751 (1976), "effective ionic
    radii", high spin where there is a choice; the trivalent anions P, As and Sb, which Shannon does
    not list: L. Pauling, The Nature of the Chemical Bond (1960), crystal radii.
    """
    text = (
        resources.files("emrl_ray.sources.generation").joinpath("data/ions.csv").read_text("utf-8")
    )
    ions: list[Ion] = []
    for row in csv.DictReader(io.StringIO(text)):
        radii = {n: float(row[f"radius_{n}"]) for n in COORDINATIONS if row[f"radius_{n}"]}
        rank = sum(ion.element == row["element"] for ion in ions)
        ions.append(Ion(row["element"], int(row["atomic_number"]), int(row["charge"]), radii, rank))
    return ions
