"""Files of text: what is read of each format, and what becomes a reject."""

import gzip
import json
import tarfile

from emrl_ray.crystals.schema import RejectReason
from emrl_ray.sources.files.partitions import source_of
from tests.support.crystal_files import (
    FRAME,
    NACL,
    POSCAR,
    VASPRUN,
    cif,
    edges,
    load,
    readers,
    salt,
    structure,
    written,
)

FCC = ("x,y,z", "x,y+1/2,z+1/2", "x+1/2,y,z+1/2", "x+1/2,y+1/2,z")
OPERATIONS = "\n".join(["loop_", "_symmetry_equiv_pos_as_xyz", *(f"'{each}'" for each in FCC)])
MMCIF = "data_1ABC\n_cell.length_a 50\nloop_\n_atom_site.id\n_atom_site.Cartn_x\n1 0.5\n"


def test_cif(tmp_path):
    written(tmp_path / "a.cif", NACL)
    written(tmp_path / "b.cif", cif(["Na1 Na 0 0 0 0.5"]))
    crystals, rejects, _ = load(tmp_path, tmp_path)
    assert edges(crystals) == {"a": 5}
    assert readers(crystals) == {"gemmi"}
    assert rejects == [("b", RejectReason.DISORDERED)]


def test_each_block_of_a_cif_has_an_id(tmp_path):
    blocks = ["data_global\n_journal_name x\n", salt(4), cif(["X1 X 0 0 0 1"]), salt(6)]
    text = "".join(block.replace("data_x", f"data_{k}") for k, block in enumerate(blocks))
    written(tmp_path / "a.cif", text)
    crystals, rejects, plan = load(tmp_path, tmp_path)
    assert edges(crystals) == {"a#1": 4, "a#3": 6}
    assert rejects == [("a#2", RejectReason.UNKNOWN_ELEMENT)]
    assert source_of(plan.partitions[0], "a#3") == str(tmp_path / "a.cif")


def test_cif_with_operations_only(tmp_path):
    written(tmp_path / "a.cif", cif(["Na1 Na 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 1"], OPERATIONS))
    written(tmp_path / "b.cif", cif(["Na1 Na 0 0 0 1"], OPERATIONS.replace("x,y,z", "x,y,q")))
    crystals, rejects, _ = load(tmp_path, tmp_path)
    assert crystals.column("formula").to_pylist() == ["NaCl"]
    assert [len(atoms) for atoms in crystals.column("atomic_numbers").to_pylist()] == [8]
    assert rejects == [("b", RejectReason.UNREADABLE)]


def test_mmcif_is_refused_with_a_reason(tmp_path):
    written(tmp_path / "1abc.cif", MMCIF)
    written(tmp_path / "2abc.mmcif.gz", MMCIF)
    written(tmp_path / "good.cif", NACL)
    crystals, rejects, _ = load(tmp_path, tmp_path)
    assert edges(crystals) == {"good": 5}
    assert rejects == [("1abc", RejectReason.UNSUPPORTED), ("2abc", RejectReason.UNSUPPORTED)]


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


def test_poscar_and_contcar(tmp_path):
    written(tmp_path / "run" / "CONTCAR", POSCAR)
    written(tmp_path / "POSCAR.b", POSCAR.replace("Na Cl\n", ""))  # VASP 4
    crystals, rejects, _ = load(tmp_path, tmp_path)
    assert edges(crystals) == {"run": 5}
    assert readers(crystals) == {"pymatgen"}
    assert rejects == [("b", RejectReason.UNREADABLE)]


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


def test_extxyz(tmp_path):
    named = FRAME.replace("energy", "id=mp-1 energy")
    written(tmp_path / "a.extxyz", FRAME + named + FRAME.replace("Lattice", "Box"))
    crystals, rejects, _ = load(tmp_path, tmp_path)
    assert edges(crystals) == {"a#1": 5, "mp-1": 5}
    assert readers(crystals) == {"emrl_ray"}
    assert rejects == [("a#3", RejectReason.BAD_CELL)]


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
