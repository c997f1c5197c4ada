"""What the elements of a crystal cost, where they come from, and which are restricted or radioactive."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.elements import SYMBOLS, symbols
from emrl_ray.crystals.units import number_field

COST, HHI_PRODUCTION, HHI_RESERVE = "cost_per_kg", "hhi_production", "hhi_reserve"
HAZARDS = "hazards"
SUPPLY_RISK = (COST, HHI_PRODUCTION, HHI_RESERVE, HAZARDS)
"""Columns about the elements of a crystal."""
ROHS = frozenset({"Pb", "Hg", "Cd", "Cr"})
"""Restricted in electrical equipment by EU directive 2011/65/EU, annex II (of chromium, the hexavalent)."""
RADIOACTIVE = frozenset({"Tc", "Pm", *SYMBOLS[83:]})
"""Elements without a stable isotope: technetium, promethium, and all from polonium on."""


def with_supply_risk(crystals: pa.Table) -> pa.Table:
    """Return a crystals table with columns about its elements, null where one is not in the sources.

    `cost_per_kg`: USD by mass, of the pure elements, at the prices of pymatgen's `costdb_elements.csv`:
    from Wolfram Alpha and Wikipedia, nearly all of September 2013. Fluorine's, 1,900 USD/kg, is that
    of the pure gas; it makes up most of the cost of most fluorides, whose makers buy cheaper
    compounds. `hhi_production`, `hhi_reserve`: Herfindahl-Hirschman index of the countries that
    produce the elements and hold their reserves, 0 to 10,000 (Gaultois et al., Chem. Mater. 25, 2911
    (2013), in pymatgen's table). `hazards`: elements that are restricted or radioactive.
    """
    elements = symbols(CrystalBatch.from_arrow(crystals))
    with warnings.catch_warnings():  # pymatgen's, that noble gases have no electronegativity
        warnings.simplefilter("ignore", UserWarning)
        prices = _prices({name for names in elements for name in names})
        costs = [_cost(names, prices) for names in elements]
        hhi = [_hhi(names) for names in elements]
    columns = [
        (number_field(COST, "USD/kg"), costs),
        (number_field(HHI_PRODUCTION, None), [production for production, _ in hhi]),
        (number_field(HHI_RESERVE, None), [reserve for _, reserve in hhi]),
        (pa.field(HAZARDS, pa.string()), [_hazards(names) for names in elements]),
    ]
    crystals = crystals.drop_columns(
        [name for name in SUPPLY_RISK if name in crystals.column_names]
    )
    for field, values in columns:
        crystals = crystals.append_column(field, pa.array(values, field.type))
    return crystals


class _Price(NamedTuple):
    """What an element costs."""

    per_kg: float
    """USD/kg"""
    mass: float
    """Of an atom, u."""


def _prices(elements: Iterable[str]) -> dict[str, _Price]:
    """Return the prices of those elements that have one."""
    from pymatgen.analysis.cost import CostAnalyzer, CostDBElements
    from pymatgen.core.periodic_table import Element

    table = CostDBElements()
    analyzer = CostAnalyzer(table)
    return {
        name: _Price(float(analyzer.get_cost_per_kg(name)), float(Element(name).atomic_mass))
        for name in elements
        if table.get_entries([Element(name)])
    }


def _cost(names: Sequence[str], prices: Mapping[str, _Price]) -> float | None:
    """Return the price, USD/kg, of the atoms `names` by mass, None if an element has none."""
    if not prices.keys() >= set(names):
        return None
    masses = [prices[name].mass for name in names]
    return float(np.average([prices[name].per_kg for name in names], weights=masses))


def _hhi(names: Sequence[str]) -> tuple[float | None, float | None]:
    from pymatgen.analysis.hhi import HHIModel
    from pymatgen.core.composition import Composition

    composition = Composition.from_dict({name: names.count(name) for name in set(names)})
    production, reserve = HHIModel().get_hhi(composition)
    return production, reserve


def _hazards(names: Sequence[str]) -> str | None:
    """Return such as "Pb restricted, U radioactive", None for elements that are neither."""
    kinds = {"restricted": ROHS, "radioactive": RADIOACTIVE}
    found = [
        f"{name} {kind}"
        for name in sorted(set(names))
        for kind, members in kinds.items()
        if name in members
    ]
    return ", ".join(found) or None
