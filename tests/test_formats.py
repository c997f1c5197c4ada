"""Every row of the table in docs/formats.md, on small files: what is read, and what becomes a reject."""

import gzip
import json
import re
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from crystal_files import (
    FRAME,
    NACL,
    POSCAR,
    STRUCTURE,
    VASPRUN,
    cif,
    jarvis,
    load,
    salt,
    structure,
)

from emrl_ray.crystals.pieces import CsvColumns, source_of
from emrl_ray.crystals.tables import RejectReason

PAGE = Path(__file__).parent.parent / "docs" / "formats.md"
FCC = ("x,y,z", "x,y+1/2,z+1/2", "x+1/2,y,z+1/2", "x+1/2,y+1/2,z")
OPERATIONS = "\n".join(["loop_", "_symmetry_equiv_pos_as_xyz", *(f"'{each}'" for each in FCC)])
MMCIF = "data_1ABC\n_cell.length_a 50\nloop_\n_atom_site.id\n_atom_site.Cartn_x\n1 0.5\n"
ROWS = {}


def row(name):
    """Mark a test as that of a row of the table, by the row's first column."""

    def note(test):
        ROWS.setdefault(name, []).append(test.__name__)
        return test

    return note


def edges(crystals):
    """Return the id and the first cell edge (Å) of each crystal."""
    lattices = np.array(crystals.column("lattice").to_pylist()).reshape(-1, 9)
    return dict(zip(crystals.column("id").to_pylist(), lattices[:, 0].tolist(), strict=True))


def readers(crystals):
    return set(crystals.column("read_by").to_pylist())


def written(path, content):
    content = content if isinstance(content, bytes) else content.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@row("CIF")
def test_cif(tmp_path):
    written(tmp_path / "a.cif", NACL)
    written(tmp_path / "b.cif", cif(["Na1 Na 0 0 0 0.5"]))
    crystals, rejects, _ = load(tmp_path, tmp_path)
    assert edges(crystals) == {"a": 5}
    assert readers(crystals) == {"gemmi"}
    assert rejects == [("b", RejectReason.DISORDERED)]


@row("CIF of several blocks")
def test_each_block_of_a_cif_has_an_id(tmp_path):
    blocks = ["data_global\n_journal_name x\n", salt(4), cif(["X1 X 0 0 0 1"]), salt(6)]
    text = "".join(block.replace("data_x", f"data_{k}") for k, block in enumerate(blocks))
    written(tmp_path / "a.cif", text)
    crystals, rejects, plan = load(tmp_path, tmp_path)
    assert edges(crystals) == {"a#1": 4, "a#3": 6}
    assert rejects == [("a#2", RejectReason.UNKNOWN_ELEMENT)]
    assert source_of(plan.slices[0], "a#3") == str(tmp_path / "a.cif")


@row("CIF with symmetry operations only")
def test_cif_with_operations_only(tmp_path):
    written(tmp_path / "a.cif", cif(["Na1 Na 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 1"], OPERATIONS))
    written(tmp_path / "b.cif", cif(["Na1 Na 0 0 0 1"], OPERATIONS.replace("x,y,z", "x,y,q")))
    crystals, rejects, _ = load(tmp_path, tmp_path)
    assert crystals.column("formula").to_pylist() == ["NaCl"]
    assert [len(atoms) for atoms in crystals.column("atomic_numbers").to_pylist()] == [8]
    assert rejects == [("b", RejectReason.UNREADABLE)]


@row("mmCIF")
def test_mmcif_is_refused_with_a_reason(tmp_path):
    written(tmp_path / "1abc.cif", MMCIF)
    written(tmp_path / "2abc.mmcif.gz", MMCIF)
    written(tmp_path / "good.cif", NACL)
    crystals, rejects, _ = load(tmp_path, tmp_path)
    assert edges(crystals) == {"good": 5}
    assert rejects == [("1abc", RejectReason.UNSUPPORTED), ("2abc", RejectReason.UNSUPPORTED)]


@row("`.gz` of a text format")
def test_gzipped_files_alone_and_in_archives(tmp_path):
    folder = tmp_path / "gz"
    written(folder / "a.cif.gz", salt(4))
    written(folder / "b.xyz.gz", FRAME)
    written(folder / "c" / "CONTCAR.gz", POSCAR)
    written(folder / "d.json.gz", json.dumps(structure(6.0)))
    written(folder / "e.cif.gz", salt(4)).write_bytes(gzip.compress(salt(4).encode())[:40])
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(folder, "gz")
    for source in (folder, tmp_path / "x.tar"):
        crystals, rejects, _ = load(tmp_path, source)
        assert edges(crystals) == {"a": 4, "b": 5, "c": 5, "d": 6}
        assert rejects == [("e", RejectReason.UNREADABLE)]


@row("POSCAR, CONTCAR")
def test_poscar_and_contcar(tmp_path):
    written(tmp_path / "run" / "CONTCAR", POSCAR)
    written(tmp_path / "POSCAR.b", POSCAR.replace("Na Cl\n", ""))  # VASP 4
    crystals, rejects, _ = load(tmp_path, tmp_path)
    assert edges(crystals) == {"run": 5}
    assert readers(crystals) == {"pymatgen"}
    assert rejects == [("b", RejectReason.UNREADABLE)]


@row("vasprun.xml")
def test_vasprun_gives_the_structure_at_the_end(tmp_path):
    written(tmp_path / "a" / "vasprun.xml", VASPRUN)
    written(tmp_path / "b" / "vasprun.xml.gz", VASPRUN)
    written(tmp_path / "c" / "vasprun.xml", VASPRUN[:-200])  # a run that was cut off
    steps = VASPRUN.index(" <calculation>"), VASPRUN.index(' <structure name="finalpos"')
    written(tmp_path / "d" / "vasprun.xml", VASPRUN[: steps[0]] + VASPRUN[steps[1] :])
    crystals, rejects, _ = load(tmp_path, tmp_path)
    assert edges(crystals) == {"a": 5.5, "b": 5.5}
    assert readers(crystals) == {"pymatgen"}
    assert rejects == [("c", RejectReason.UNREADABLE), ("d", RejectReason.UNREADABLE)]


@row("extended XYZ")
def test_extxyz(tmp_path):
    named = FRAME.replace("energy", "id=mp-1 energy")
    written(tmp_path / "a.extxyz", FRAME + named + FRAME.replace("Lattice", "Box"))
    crystals, rejects, _ = load(tmp_path, tmp_path)
    assert edges(crystals) == {"a#1": 5, "mp-1": 5}
    assert readers(crystals) == {"emrl_ray"}
    assert rejects == [("a#3", RejectReason.BAD_CELL)]


@row("pymatgen JSON")
def test_pymatgen_json_alone_listed_and_named(tmp_path):
    folder = tmp_path / "json"
    written(folder / "alone.json", json.dumps(structure(4.0)))
    written(folder / "list.json", json.dumps([structure(5.0), structure(5.0, "X"), structure(6.0)]))
    named = {"mp-1": structure(7.0), "mp-2": structure(7.0, occupancy=0.5)}
    written(folder / "named.json", json.dumps(named))
    expected = {"alone": 4, "list#1": 5, "list#3": 6, "mp-1": 7}
    flaws = [RejectReason.UNKNOWN_ELEMENT, RejectReason.DISORDERED]
    crystals, rejects, _ = load(tmp_path, folder)
    assert edges(crystals) == expected
    assert readers(crystals) == {"emrl_ray"}
    assert [reason for _, reason in rejects] == flaws
    crystals, rejects, _ = load(tmp_path, *sorted(folder.iterdir()), files_per_slice=1)
    assert edges(crystals) == expected
    assert rejects == [("list#2", flaws[0]), ("mp-2", flaws[1])]


def test_pymatgen_json_is_read_as_pymatgen_reads_it():
    from pymatgen.core import Lattice, Structure

    from emrl_ray.crystals.readers import Format, read_document

    expected = Structure(
        Lattice.from_parameters(4.1, 5.2, 6.3, 80, 95, 107),
        ["Fe3+", "O2-", "D"],
        [[0.1, 0.2, 0.3], [1.4, -0.5, 0.6], [0.7, 0.8, 0.9]],
    )
    content = expected.as_dict()
    for text in (content, content | {"lattice": {**content["lattice"], "matrix": None}}):
        if text["lattice"]["matrix"] is None:
            text["lattice"].pop("matrix")
        (found,) = read_document(json.dumps(text).encode(), Format.JSON)
        np.testing.assert_allclose(found.frac_coords, expected.frac_coords)
        np.testing.assert_allclose(
            found.lattice @ found.lattice.T, expected.lattice.matrix @ expected.lattice.matrix.T
        )
        assert found.atomic_numbers.tolist() == [26, 8, 1]


MATBENCH = {
    "index": [0, 1, 2, "mb-3"],
    "columns": ["structure", "gap pbe", "is_metal", "note", "forces"],
    "data": [
        [structure(4.0), 1.5, False, "ä", [1]],
        [structure(5.0), None, True, None, [2]],
        [structure(5.0, "X"), 2, True, None, [2]],
        [structure(6.0), float("nan"), False, "na", None],
    ],
}


@row("matminer, matbench")
@pytest.mark.parametrize("order", [("index", "columns", "data"), ("data", "index", "columns")])
@pytest.mark.parametrize("name", ["t.json", "t.json.gz"])
def test_a_matbench_table_brings_its_columns(tmp_path, order, name):
    content = json.dumps({key: MATBENCH[key] for key in order}, ensure_ascii=False)
    crystals, rejects, plan = load(tmp_path, written(tmp_path / name, content), files_per_slice=2)
    assert edges(crystals) == {"t#0": 4, "t#1": 5, "mb-3": 6}
    assert crystals.column("gap pbe").to_pylist() == [1.5, None, None]
    assert crystals.column("is_metal").to_pylist() == [False, True, False]
    assert crystals.column("note").to_pylist() == ["ä", None, "na"]
    assert "forces" not in crystals.column_names
    assert rejects == [("t#2", RejectReason.UNKNOWN_ELEMENT)]
    assert len(plan.slices) == 2


def test_a_table_in_a_folder_is_a_reject_that_says_to_name_it(tmp_path):
    written(tmp_path / "in" / "t.json", json.dumps(MATBENCH))
    written(tmp_path / "in" / "z.cif", NACL)
    crystals, rejects, _ = load(tmp_path, tmp_path / "in")
    assert edges(crystals) == {"z": 5}
    assert {reason for _, reason in rejects} == {
        RejectReason.UNSUPPORTED,
        RejectReason.UNKNOWN_ELEMENT,
    }


JARVIS = [
    {"jid": "JVASP-1", "formula": "NaCl", "atoms": jarvis(4.0), "gap": 1.5, "slme": "na"},
    {"jid": "JVASP-2", "atoms": jarvis(6.0, cartesian=True), "gap": 2, "slme": 3.5},
    {"jid": "JVASP-3", "atoms": jarvis(6.0, "Q"), "gap": "na", "slme": "na"},
    {"jid": "JVASP-4", "atoms": "na", "gap": 2.0, "slme": 1.0},
]


@row("JARVIS")
@pytest.mark.parametrize("packed", [None, zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, "tar"])
def test_jarvis_alone_or_in_its_archive(tmp_path, packed):
    path = written(tmp_path / "jdft.json", json.dumps(JARVIS))
    if packed == "tar":
        path = tmp_path / "jdft.tar"
        with tarfile.open(path, "w") as archive:
            archive.add(tmp_path / "jdft.json", "jdft.json")
    elif packed is not None:
        path = tmp_path / "jdft.json.zip"
        with zipfile.ZipFile(path, "w", packed) as archive:
            archive.write(tmp_path / "jdft.json", "jdft.json")
            archive.writestr("README.txt", "")
    crystals, rejects, _ = load(tmp_path, path)
    assert edges(crystals) == {"JVASP-1": 4, "JVASP-2": 6}
    np.testing.assert_allclose(crystals.column("frac_coords").to_pylist()[1][3:], 0.5)
    assert crystals.column("gap").to_pylist() == [1.5, 2]
    assert crystals.column("slme").to_pylist() == [None, 3.5]
    assert [reason for _, reason in rejects] == [
        RejectReason.UNKNOWN_ELEMENT,
        RejectReason.UNREADABLE,
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1}, {"b"', "no JSON at byte 11"),
        ('{"columns": ["structure"], "data": [[1], [2]', "not a JSON file"),
        ("[1, 2] 3", "'3' at byte 7, after its end"),
        ("[1 2]", "'2' at byte 3 where one of ,] should be"),
        ("[" * 100_000, "no JSON at byte"),
        ("", "no JSON at byte 0"),
    ],
)
def test_a_damaged_json_file_that_is_named_is_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path, written(tmp_path / "t.json", text))
    assert "\n" not in str(caught.value)


def test_entries_are_found_whatever_the_window(tmp_path, monkeypatch):
    path = written(tmp_path / "t.json", json.dumps(MATBENCH, ensure_ascii=False, indent=1))
    whole = load(tmp_path, path)[0]
    for size in (1, 7, 64):
        monkeypatch.setattr("emrl_ray.crystals.json_files.WINDOW_BYTES", size)
        assert load(tmp_path, path)[0].equals(whole)


@row("CSV with a column of CIFs")
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_csv_of_cifs(tmp_path, name):
    cells = ['"' + text.replace('"', '""') + '"' for text in (salt(4), cif(["X1 X 0 0 0 1"]))]
    content = "id,cif,gap\n" + "".join(f"c{k},{cell},{k}.5\n" for k, cell in enumerate(cells))
    crystals, rejects, _ = load(tmp_path, written(tmp_path / name, content))
    assert edges(crystals) == {"c0": 4}
    assert readers(crystals) == {"gemmi"}
    assert crystals.column("gap").to_pylist() == [0.5]
    assert rejects == [("c1", RejectReason.UNKNOWN_ELEMENT)]


@row("crystals table")
def test_a_crystals_table_keeps_what_read_it(tmp_path):
    table = pa.table(
        {
            "id": ["p0", "p1", "p2"],
            "lattice": [[5.0, 0, 0, 0, 5.0, 0, 0, 0, 5.0]] * 3,
            "atomic_numbers": [[11, 17], [11], [11, 35]],
            "frac_coords": [[0, 0, 0, 0.5, 0.5, 0.5]] * 3,
            "gap": [1.0, 2.0, 3.0],
            "read_by": ["gemmi", None, None],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    crystals, rejects, _ = load(tmp_path, tmp_path)
    assert crystals.column("read_by").to_pylist() == ["gemmi", "pyarrow"]
    assert crystals.column("gap").to_pylist() == [1, 3]
    assert rejects == [("p1", RejectReason.BAD_COORDINATES)]


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


@row("LeMaterial, OPTIMADE Parquet")
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
        ("agm2", RejectReason.UNKNOWN_ELEMENT),
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


@row("ASE database")
def test_an_ase_database_gives_a_crystal_a_row(tmp_path, database):
    crystals, rejects, plan = load(tmp_path, database, files_per_slice=2)
    assert edges(crystals) == {"nlhm#1": 5, "nlhm#3": 7}
    assert crystals.column("gap").to_pylist() == [0, 3]
    assert crystals.column("stable").to_pylist() == [False, False]
    assert crystals.column("name").to_pylist() == ["n0", "n2"]
    assert readers(crystals) == {"ase"}
    assert rejects == [("nlhm#2", RejectReason.BAD_CELL), ("nlhm#4", RejectReason.UNREADABLE)]
    assert len(plan.slices) == 2
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


def test_without_ase_a_database_says_what_to_install(tmp_path, database):
    code = (
        "import sys; sys.modules['ase'] = None; sys.modules['ase.db'] = None\n"
        "from emrl_ray.crystals.plan import plan_slices\n"
        "from emrl_ray.crystals.sources import list_sources\n"
        "plan_slices(list_sources([sys.argv[1]]), sys.argv[2], 500)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, database, tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ImportError" in done.stderr
    assert "pip install 'emrl-ray[ase]'" in done.stderr


@row("folder, glob")
def test_a_folder_and_a_glob_name_files_of_all_kinds(tmp_path):
    written(tmp_path / "in" / "a.cif", NACL)
    written(tmp_path / "in" / "b" / "POSCAR", POSCAR)
    written(tmp_path / "in" / "id_prop.csv", "a,1\n")
    written(tmp_path / "in" / "thumbs.db", "x")
    for source in (tmp_path / "in", tmp_path / "i*"):
        crystals, rejects, _ = load(tmp_path, source)
        assert edges(crystals) == {"a": 5, "b": 5}
        assert readers(crystals) == {"gemmi", "pymatgen"}
        assert rejects == []


@row("archive")
def test_an_archive_holds_files_of_all_kinds(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.cif", NACL)
        archive.writestr("b/CONTCAR", POSCAR)
        archive.writestr("c.json", json.dumps([STRUCTURE, STRUCTURE]))
        archive.writestr("d.cif", "")
        archive.writestr("inner.zip", "")
    crystals, rejects, plan = load(tmp_path, tmp_path / "x.zip")
    assert edges(crystals) == {"a": 5, "b": 5, "c#1": 5, "c#2": 5}
    assert rejects == [("d", RejectReason.EMPTY)]
    assert plan.passed_over.paths == [str(tmp_path / "x.zip/inner.zip")]


@row("GNoME")
def test_gnome_is_a_zip_of_cifs_and_a_table_of_targets(tmp_path):
    from emrl_ray.crystals.targets import join, read_targets

    with zipfile.ZipFile(tmp_path / "by_id.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, name in enumerate(("0008d2e20e", "0012a4b5cd", "00ffffffff")):
            archive.writestr(f"by_id/{name}.CIF", salt(4 + number))
    written(
        tmp_path / "stable_materials_summary.csv",
        ",Composition,MaterialId,Reduced Formula,Elements,NSites,Bandgap,Is Train\n"
        "0,Cl1Na1,0008d2e20e,NaCl,\"['Cl', 'Na']\",2,1.5,True\n"
        "1,Cl1Na1,0012a4b5cd,NaCl,\"['Cl', 'Na']\",2,,False\n",
    )
    crystals, rejects, _ = load(tmp_path, tmp_path / "by_id.zip")
    assert list(edges(crystals)) == ["0008d2e20e", "0012a4b5cd", "00ffffffff"]
    targets = read_targets(str(tmp_path / "stable_materials_summary.csv"), id_column="MaterialId")
    table, missing = join(crystals, targets, str)
    assert table.column("Bandgap").to_pylist() == [1.5, None]
    assert table.column("Is Train").to_pylist() == [True, False]
    assert [reject.id for reject in missing] == ["00ffffffff"]
    assert rejects == []


def test_the_directory_of_a_zip_is_read_as_zipfile_reads_it(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(b"#!/bin/sh\n" * 10)  # what unpacks itself has something before the archive
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"PK\5 comment"
        for number in range(70_000):  # more than a directory without Zip64 can hold
            archive.writestr(f"ä{number}.txt", b"")
        with archive.open("a.cif", "w", force_zip64=True) as member:
            member.write(NACL.encode())
    crystals, _, plan = load(tmp_path, path)
    assert edges(crystals) == {"a": 5}
    assert plan.passed_over.count == 70_000
    assert plan.passed_over.paths[0].endswith("x.zip/ä0.txt")


def test_every_row_of_the_page_has_its_test_and_every_test_its_row():
    table = PAGE.read_text().partition("## What is read")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \|.*\| `(test_\w+)` \|$", table, re.MULTILINE)
    assert rows
    assert {name: [test] for name, test in rows} == ROWS
