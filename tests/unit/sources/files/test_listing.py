"""Which files sources name, what they hold, and the partitions in which they are read."""

import os
import zipfile

import pytest

from emrl_ray.commands.fetch import PLAN
from emrl_ray.config import UserError
from emrl_ray.crystals.schema import RejectReason
from emrl_ray.runs.lock import LOCK
from emrl_ray.runs.run_directory import MANIFEST, RECORD
from emrl_ray.sources.files.file_types import Container, id_of, kind_of
from emrl_ray.sources.files.formats.registry import Format
from emrl_ray.sources.files.listing import list_sources
from emrl_ray.sources.files.planning import plan_partitions
from tests.support.crystal_files import NACL, load, write


def names(listing, folder):
    return [os.path.relpath(file.path, folder) for file in listing.files]


@pytest.mark.parametrize(
    ("path", "kind", "crystal_id"),
    [
        ("a/mp-1.cif", Format.CIF, "mp-1"),
        ("a/v1.2.CIF", Format.CIF, "v1.2"),
        ("a/mp-1/POSCAR", Format.POSCAR, "mp-1"),
        ("a/mp-1/CONTCAR.vasp", Format.POSCAR, "mp-1"),
        ("a/POSCAR_mp-1", Format.POSCAR, "mp-1"),
        ("a/POSCAR.mp-1", Format.POSCAR, "mp-1"),
        ("a/mp-1.vasp", Format.POSCAR, "mp-1"),
        ("a/mp-1.poscar", Format.POSCAR, "mp-1"),
        ("a/md.extxyz", Format.EXTXYZ, "md"),
        ("a/md.xyz", Format.EXTXYZ, "md"),
        ("a/mp-1.json", Format.JSON, "mp-1"),
        ("a/mp-1.cif.gz", Format.CIF, "mp-1"),
        ("a/mp-1.mmcif", Format.CIF, "mp-1"),
        ("a/mp-1/CONTCAR.gz", Format.POSCAR, "mp-1"),
        ("a/mp-1/vasprun.xml", Format.VASPRUN, "mp-1"),
        ("a/mp-1/vasprun.xml.gz", Format.VASPRUN, "mp-1"),
        ("a/mp-1/vasprun.xml.relax2.gz", Format.VASPRUN, "relax2"),
        ("a/mp-1_vasprun.xml", Format.VASPRUN, "mp-1"),
    ],
)
def test_the_name_of_a_file_tells_its_format_and_the_id_of_its_crystal(path, kind, crystal_id):
    assert kind_of(path) is kind
    assert id_of(path) == crystal_id


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("x.csv", Container.CSV),
        ("x.csv.gz", Container.CSV),
        ("x.parquet", Container.PARQUET),
        ("x.db", Container.ASE),
        *((f"x{ending}", Container.ARCHIVE) for ending in (".tar", ".tgz", ".tar.xz", ".zip")),
        *(
            (name, None)
            for name in ("x.txt", "README", "atom_init.json", "x.txt.gz", "x.parquet.gz")
        ),
    ],
)
def test_the_name_of_a_file_tells_whether_it_holds_many_crystals_or_none(path, kind):
    assert kind_of(path) is kind


def test_a_folder_is_read_with_all_below_it_in_order_and_without_what_is_hidden(tmp_path):
    write(tmp_path, "b.cif", "a/z.cif", "a/y.cif", ".hidden.cif", "_rejects/r.cif", "a/.git/x.cif")
    write(tmp_path, "_odd.cif")
    listing = list_sources([str(tmp_path)])
    assert names(listing, tmp_path) == ["_odd.cif", "a/y.cif", "a/z.cif", "b.cif"]


def test_other_files_of_a_folder_are_passed_over_and_named(tmp_path):
    write(tmp_path, "a.cif", "id_prop.csv", "atom_init.json", "notes.txt")
    listing = list_sources([str(tmp_path)])
    assert names(listing, tmp_path) == ["a.cif"]
    assert sorted(path.rsplit("/", 1)[-1] for path in listing.passed_over.paths) == [
        "atom_init.json",
        "id_prop.csv",
        "notes.txt",
    ]


def test_what_our_verbs_write_of_themselves_is_no_crystal(tmp_path):
    records = {RECORD, MANIFEST, LOCK, PLAN, "run.json", "manifest.json"}
    write(tmp_path, "a.cif", "b.json", *(f"runs/{name}" for name in records))
    listing = list_sources([str(tmp_path)])
    assert names(listing, tmp_path) == ["a.cif", "b.json"]
    assert listing.passed_over.count == len(records)


def test_a_name_that_is_no_utf8_is_passed_over_and_named(tmp_path):
    write(tmp_path, "a.cif", "b/c.cif")
    file = os.fsdecode(b"\xff.cif")
    write(tmp_path, file)
    (tmp_path / "b" / os.fsdecode(b"d\xfe")).mkdir()
    for source in (str(tmp_path), f"{tmp_path}/**/*.cif"):
        listing = list_sources([source])
        assert names(listing, tmp_path) == ["a.cif", "b/c.cif"]
        assert listing.passed_over.paths == [f"{tmp_path}/\ufffd.cif", f"{tmp_path}/b/d\ufffd"]
    with pytest.raises(ValueError, match=r"its name is no UTF-8, rename it$"):
        list_sources([str(tmp_path / file)])


def test_a_csv_is_a_source_where_it_is_named(tmp_path):
    write(tmp_path, "a.cif", "t.csv")
    assert names(list_sources([f"{tmp_path}/t.csv"]), tmp_path) == ["t.csv"]
    assert names(list_sources([f"{tmp_path}/*.csv"]), tmp_path) == ["t.csv"]
    assert names(list_sources([f"{tmp_path}/*"]), tmp_path) == ["a.cif"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.cif", ["a.cif", "b1.cif"]),
        ("b?.cif", ["b1.cif"]),
        ("[!b]*.cif", ["a.cif"]),
        ("*/*.cif", ["d/c.cif"]),
        ("**/*.cif", ["a.cif", "b1.cif", "d/c.cif", "d/e/f.cif"]),
        ("d*", ["d/c.cif", "d/e/f.cif"]),
        ("d/*", ["d/c.cif", "d/e/f.cif"]),
    ],
)
def test_a_glob_names_files_and_folders(tmp_path, pattern, expected):
    write(tmp_path, "a.cif", "b1.cif", "d/c.cif", "d/e/f.cif", "d.txt")
    assert names(list_sources([f"{tmp_path}/{pattern}"]), tmp_path) == expected
    uri = f"file://{tmp_path}/{pattern.replace('?', '*')}"  # it would begin a query
    assert names(list_sources([uri]), tmp_path) == expected


def test_a_file_whose_name_looks_like_a_glob_is_itself(tmp_path):
    write(tmp_path, "a[1].cif", "a1.cif")
    assert names(list_sources([f"{tmp_path}/a[1].cif"]), tmp_path) == ["a[1].cif"]


def test_a_file_that_is_named_twice_is_read_once(tmp_path):
    write(tmp_path, "a.cif")
    listing = list_sources([f"{tmp_path}/a.cif", str(tmp_path), f"{tmp_path}/a.cif"])
    assert len(list(listing.files)) == 1


def test_output_and_targets_are_no_sources(tmp_path):
    write(tmp_path, "a.cif", "t.csv", "out/slice-000000.parquet", "outer.cif")
    leave_out = [str(tmp_path / "out"), str(tmp_path / "t.csv")]
    listing = list_sources([str(tmp_path)], leave_out)
    assert names(listing, tmp_path) == ["a.cif", "outer.cif"]
    assert listing.passed_over.count == 0


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("absent", FileNotFoundError, "absent: no such file or folder"),
        ("absent/*.cif", FileNotFoundError, "there is no folder"),
        ("*.nope", FileNotFoundError, "no files of crystals there"),
        ("empty", FileNotFoundError, "no files of crystals there"),
        ("notes.txt", ValueError, "not a file of crystals"),
    ],
)
def test_a_source_without_crystals_is_refused_in_one_line(tmp_path, source, error, message):
    write(tmp_path, "notes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(error, match=message) as caught:
        list_sources([f"{tmp_path}/{source}"])
    assert "\n" not in str(caught.value)


def test_an_empty_source_is_not_the_current_folder():
    with pytest.raises(UserError, match=r"^the source is empty: give a path \(\. is the current"):
        list_sources([""])


def test_the_fingerprint_changes_with_the_files(tmp_path):
    write(tmp_path, "a.cif")
    first = list_sources([str(tmp_path)]).fingerprint
    assert list_sources([str(tmp_path)]).fingerprint == first
    write(tmp_path, "b.cif")
    assert list_sources([str(tmp_path)]).fingerprint != first


def test_a_file_that_cannot_be_opened_or_is_too_large_is_a_reject(tmp_path, monkeypatch):
    write(tmp_path, "a.cif", "b.cif", "c.cif")
    write(tmp_path, "d.cif", content=NACL + "# " + "x" * 3000)
    monkeypatch.setattr("emrl_ray.io.archives.MAX_CONTENT_BYTES", 2000)
    crystals, rejects, _ = load(tmp_path, tmp_path, meanwhile=(tmp_path / "b.cif").unlink)
    assert crystals.column("id").to_pylist() == ["a", "c"]
    assert rejects == [("b", RejectReason.UNREADABLE), ("d", RejectReason.UNREADABLE)]


def test_names_are_kept_as_columns_of_some_hundred_bytes_a_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for number in range(3000):
            archive.writestr(f"by_id/{number:010x}.CIF", b"")
    write(tmp_path, *(f"in/c{number}.cif" for number in range(500)), content=b"")
    listing = list_sources([f"{tmp_path}/x.zip", f"{tmp_path}/in"])
    assert listing.table.nbytes < 501 * (100 + len(str(tmp_path)))
    plan = plan_partitions(listing, str(tmp_path), 500)
    assert [partition.table.num_rows for partition in plan.partitions] == [500] * 7
    size = sum(partition.table.nbytes for partition in plan.partitions)
    assert size < 3500 * (150 + 2 * len(str(tmp_path)))
