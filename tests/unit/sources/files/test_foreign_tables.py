"""Tables that others write: Parquet files as OPTIMADE names their columns, ASE databases."""

import json
import sqlite3

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emrl_ray.crystals.schema import RejectReason
from emrl_ray.sources.files.partitions import CsvColumns
from tests.support.crystal_files import edges, load, readers, written


def optimade(**columns):
    rows = 4
    return {
        "immutable_id": [f"agm{k}" for k in range(rows)],
        "lattice_vectors": [[[4.0 + k, 0, 0], [0, 5, 0], [0, 0, 5]] for k in range(rows)],
        "cartesian_site_positions": [[[0, 0, 0], [2.0, 2.5, 2.5]]] * rows,
        "species_at_sites": [["Na", "Cl"]] * rows,
        "nsites": pa.array([2] * rows, pa.int32()),
        "energy": [-1.0, -2.0, -3.0, None],
        "functional": ["pbe"] * rows,
        "forces": [[[0.0, 0.0, 0.0]] * 2] * rows,
        **columns,
    }


def species(name, symbols=None, shares=(1.0,)):
    return {"name": name, "chemical_symbols": symbols or [name], "concentration": list(shares)}


@pytest.mark.parametrize("form", ["json", "list"])
def test_optimade_parquet(tmp_path, form):
    listed = [
        [species("Na"), species("Cl")],
        [species("Na", ["Na", "K"], [0.5, 0.5]), species("Cl")],
        [species("Na", ["vacancy"]), species("Cl")],
        None,
    ]
    if form == "json":
        listed = [json.dumps(each) if each else None for each in listed]
    pq.write_table(pa.table(optimade(species=listed)), tmp_path / "t.parquet")
    crystals, rejects, _ = load(tmp_path, tmp_path)
    assert edges(crystals) == {"agm0": 4, "agm3": 7}
    np.testing.assert_allclose(crystals.column("frac_coords").to_pylist()[0], [0] * 3 + [0.5] * 3)
    assert crystals.column("energy").to_pylist() == [-1, None]
    assert crystals.column("functional").to_pylist() == ["pbe", "pbe"]
    assert not {"forces", "species", "lattice_vectors"} & {*crystals.column_names}
    assert readers(crystals) == {"pyarrow"}
    assert rejects == [
        ("agm1", RejectReason.DISORDERED),
        ("agm2", RejectReason.DISORDERED),
    ]


def test_optimade_rows_that_are_no_crystals_are_rejects(tmp_path):
    columns = optimade(
        lattice_vectors=[[[5.0, 0, 0], [0, 5, 0]], [[5.0, 0, 0]] * 3, None, [[5.0, 0, 0]] * 3],
        species_at_sites=[["Na", "Cl"], ["Na", "Cl"], ["Na", "Cl"], []],
        nperiodic_dimensions=[3, 3, 3, 2],
    )
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    crystals, rejects, _ = load(tmp_path, tmp_path)
    assert not crystals.num_rows
    assert [reason for _, reason in rejects] == [RejectReason.BAD_CELL] * 3 + [
        RejectReason.NO_ATOMS
    ]
    assert [row_id for row_id, _ in rejects] == ["agm0", "agm1", "agm2", "agm3"]


@pytest.fixture
def database(tmp_path):
    """An ASE database of four rows, the second without a direction, the fourth damaged."""
    ase = pytest.importorskip("ase")
    from ase.db import connect

    path = tmp_path / "nlhm.db"
    with connect(path) as opened:
        for number, pbc in enumerate((True, [1, 1, 0], True, True)):
            atoms = ase.Atoms("NaCl", [[0, 0, 0], [2.5] * 3], cell=[5.0 + number, 5, 5], pbc=pbc)
            opened.write(atoms, name=f"n{number}", gap=1.5 * number, stable=bool(number % 2))
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE systems SET positions = ? WHERE id = 4", (b"\1\2\3",))
    raw.close()
    return path


def test_an_ase_database_gives_a_crystal_a_row(tmp_path, database):
    crystals, rejects, plan = load(tmp_path, database, files_per_partition=2)
    assert edges(crystals) == {"nlhm#1": 5, "nlhm#3": 7}
    assert crystals.column("gap").to_pylist() == [0, 3]
    assert crystals.column("stable").to_pylist() == [False, False]
    assert crystals.column("name").to_pylist() == ["n0", "n2"]
    assert readers(crystals) == {"ase"}
    assert rejects == [("nlhm#2", RejectReason.BAD_CELL), ("nlhm#4", RejectReason.UNREADABLE)]
    assert len(plan.partitions) == 2
    by_name = load(tmp_path, database, columns=CsvColumns(id="name"))[0]
    assert by_name.column("id").to_pylist() == ["n0", "n2"]


def test_a_database_of_something_else_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "t.db"
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE systems (x)")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not an ASE database"):
        load(tmp_path, path)
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="not an ASE database"):
        load(tmp_path, written(tmp_path / "u.db", "nonsense"))
