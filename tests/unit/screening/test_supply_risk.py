"""What the elements of a shortlist cost, where they come from, and which are hazardous."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pymatgen.analysis.cost import CostAnalyzer, CostDBElements

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.schema import crystals_table
from emrl_ray.screening.supply_risk import with_supply_risk


def crystals(*numbers: list[int]) -> pa.Table:
    """Return crystals of these atoms, wherever they are."""
    offsets = np.cumsum([0, *map(len, numbers)])
    flat = np.concatenate([np.array(part, np.uint8) for part in numbers])
    cells = np.tile(4.0 * np.eye(3), (len(numbers), 1, 1))
    batch = CrystalBatch(cells, flat, np.zeros((len(flat), 3)), offsets)
    names = [f"c{row}" for row in range(len(numbers))]
    return crystals_table(batch, names, names)


def test_common_elements_cost_less_than_rare_ones_and_hazards_are_named():
    found = with_supply_risk(crystals([26, 26, 8, 8, 8], [82, 77], [92, 8, 8])).to_pylist()
    rust, rare, urania = found
    assert rust["cost_per_kg"] < 10 < 1e4 < rare["cost_per_kg"]
    assert 0 < rust["hhi_reserve"] < rust["hhi_production"] < 10_000
    assert [row["hazards"] for row in found] == [None, "Pb restricted", "U radioactive"]
    assert urania["cost_per_kg"] is None
    assert urania["hhi_production"] is None


def test_a_cost_is_the_mean_of_its_elements_prices_by_mass_as_pymatgen_has_it():
    table = crystals([55, 82, 53, 53, 53], [9, 9, 20], [1], [8, 8, 8, 26, 26, 92])
    from_pymatgen = CostAnalyzer(CostDBElements())
    expected = [from_pymatgen.get_cost_per_kg(name) for name in ("CsPbI3", "CaF2", "H")]
    found = with_supply_risk(table).column("cost_per_kg").to_pylist()
    np.testing.assert_allclose(found[:3], expected)
    assert found[3] is None


def test_columns_that_came_in_make_way_and_the_cost_has_a_unit():
    table = crystals([11, 17]).append_column("hazards", pa.array(["none known"]))
    found = with_supply_risk(table)
    assert found.column("hazards").to_pylist() == [None]
    assert found.schema.field("cost_per_kg").metadata == {b"unit": b"USD/kg"}
    assert found.column_names[:5] == crystals([11, 17]).column_names


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_any_number_of_rows_is_served(rows):
    assert with_supply_risk(crystals([11, 17], [26]).slice(0, rows)).num_rows == rows
