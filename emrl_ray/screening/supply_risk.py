"""What the elements of a crystal cost, where they come from, and which are restricted or radioactive."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.elements import SYMBOLS

COST, HHI_PRODUCTION, HHI_RESERVE = "cost_per_kg", "hhi_production", "hhi_reserve"
HAZARDS = "hazards"
ROHS = frozenset({"Pb", "Hg", "Cd", "Cr"})
"""Restricted in electrical equipment by EU directive 2011/65/EU, annex II (of chromium, the hexavalent)."""
RADIOACTIVE = frozenset({"Tc", "Pm", *SYMBOLS[83:]})
"""Elements without a stable isotope: technetium, promethium, and all from polonium on."""


def with_supply_risk(crystals: pa.Table) -> pa.Table:
    """Return a crystals table with columns about its elements, null where one is not in the sources.

    `cost_per_kg`: USD of 2013 by mass, and `hhi_production`, `hhi_reserve`: Herfindahl-Hirschman index of
    the countries that produce the elements and hold their reserves, 0 to 10,000 (Gaultois et al.,
    Chem. Mater. 25, 2911 (2013)); both from pymatgen's tables. `hazards`: elements that are restricted
    or radioactive.
    """
    batch = CrystalBatch.from_arrow(crystals)
    elements = [
        [SYMBOLS[number - 1] for number in part]
        for part in np.split(batch.atomic_numbers, batch.offsets[1:-1])
    ][: batch.n_crystals]
    with warnings.catch_warnings():  # pymatgen's, that noble gases have no electronegativity
        warnings.simplefilter("ignore", UserWarning)
        costs, hhi = [_cost(names) for names in elements], [_hhi(names) for names in elements]
    unit = pa.field(COST, pa.float64(), metadata={"unit": "USD/kg"})
    columns = [
        (unit, costs),
        (pa.field(HHI_PRODUCTION, pa.float64()), [production for production, _ in hhi]),
        (pa.field(HHI_RESERVE, pa.float64()), [reserve for _, reserve in hhi]),
        (pa.field(HAZARDS, pa.string()), [_hazards(symbols) for symbols in elements]),
    ]
    taken = [field.name for field, _ in columns if field.name in crystals.column_names]
    crystals = crystals.drop_columns(taken)
    for field, values in columns:
        crystals = crystals.append_column(field, pa.array(values, field.type))
    return crystals


def _cost(symbols: Sequence[str]) -> float | None:
    from pymatgen.analysis.cost import CostAnalyzer, CostDBElements
    from pymatgen.core.composition import Composition

    composition = Composition.from_dict({name: symbols.count(name) for name in set(symbols)})
    try:
        return float(CostAnalyzer(CostDBElements()).get_cost_per_kg(composition))
    except ValueError:  # an element without a price
        return None


def _hhi(symbols: Sequence[str]) -> tuple[float | None, float | None]:
    from pymatgen.analysis.hhi import HHIModel
    from pymatgen.core.composition import Composition

    composition = Composition.from_dict({name: symbols.count(name) for name in set(symbols)})
    production, reserve = HHIModel().get_hhi(composition)
    return production, reserve


def _hazards(symbols: Sequence[str]) -> str | None:
    """Return such as "Pb restricted, U radioactive", None for elements that are neither."""
    kinds = {"restricted": ROHS, "radioactive": RADIOACTIVE}
    found = [
        f"{name} {kind}"
        for name in sorted(set(symbols))
        for kind, members in kinds.items()
        if name in members
    ]
    return ", ".join(found) or None
