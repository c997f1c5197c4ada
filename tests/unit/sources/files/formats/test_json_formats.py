"""JSON of pymatgen, matminer and JARVIS: structures, tables of them, and damaged files."""

import json
import tarfile
import zipfile

import numpy as np
import pytest

from emrl_ray.crystals.schema import RejectReason
from emrl_ray.sources.files.formats.registry import Format, read_document
from emrl_ray.sources.files.listing import list_sources
from emrl_ray.sources.files.partitions import source_of
from emrl_ray.sources.files.planning import plan_partitions
from tests.support.crystal_files import NACL, edges, jarvis, load, readers, structure, written


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
    crystals, rejects, _ = load(tmp_path, *sorted(folder.iterdir()), files_per_partition=1)
    assert edges(crystals) == expected
    assert rejects == [("list#2", flaws[0]), ("mp-2", flaws[1])]


def test_pymatgen_json_is_read_as_pymatgen_reads_it():
    from pymatgen.core import Lattice, Structure

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


@pytest.mark.parametrize("order", [("index", "columns", "data"), ("data", "index", "columns")])
@pytest.mark.parametrize("name", ["t.json", "t.json.gz"])
def test_a_matbench_table_brings_its_columns(tmp_path, order, name):
    content = json.dumps({key: MATBENCH[key] for key in order}, ensure_ascii=False)
    crystals, rejects, plan = load(
        tmp_path, written(tmp_path / name, content), files_per_partition=2
    )
    assert edges(crystals) == {"t#0": 4, "t#1": 5, "mb-3": 6}
    assert crystals.column("gap pbe").to_pylist() == [1.5, None, None]
    assert crystals.column("is_metal").to_pylist() == [False, True, False]
    assert crystals.column("note").to_pylist() == ["ä", None, "na"]
    assert "forces" not in crystals.column_names
    assert rejects == [("t#2", RejectReason.UNKNOWN_ELEMENT)]
    assert len(plan.partitions) == 2


def test_a_table_in_a_folder_is_a_reject_that_says_to_name_it(tmp_path):
    written(tmp_path / "in" / "t.json", json.dumps(MATBENCH))
    written(tmp_path / "in" / "z.cif", NACL)
    crystals, rejects, _ = load(tmp_path, tmp_path / "in")
    assert edges(crystals) == {"z": 5}
    assert {reason for _, reason in rejects} == {
        RejectReason.UNSUPPORTED,
        RejectReason.UNKNOWN_ELEMENT,
    }


ODD = [
    {"id": "a", "atoms": 2, "structure": structure(4.0), "": 1.5, "gap": float("inf")},
    {"id": "b", "atoms": 2},
    {"id": "c", "structure": float("nan")},
    {"id": "d", "structure": [1], "atoms": jarvis(5.0), "gap": 2},
    {"id": "\ud800e", "structure": structure(6.0), "note\udfff": "x\ud800", "gap": 10**400},
]


def test_what_is_no_structure_under_its_name_is_a_reject(tmp_path):
    large = json.dumps([*ODD, {"id": 7, "structure": structure(7.0), "gap": "large"}])
    odd = large.replace('"large"', "1" + "0" * 5000)
    crystals, rejects, plan = load(
        tmp_path, written(tmp_path / "t.json", odd), files_per_partition=9
    )
    assert edges(crystals) == {"a": 4, "d": 5, "\\ud800e": 6, "7": 7}
    assert crystals.column("gap").to_pylist() == [None, 2, None, None]
    assert crystals.column("note\\udfff").to_pylist() == [None, None, "x\\ud800", None]
    assert "" not in crystals.column_names
    assert rejects == [(row_id, RejectReason.UNREADABLE) for row_id in "bc"]
    assert source_of(plan.partitions[0], "d") == f"{tmp_path}/t.json entry d"


LAYOUTS = {
    "columns first": {"info": {"a": 1}, "structure": structure(4.0)},
    "an id first": {"mp-1": structure(4.0), "mp-2": {"structure": structure(5.0, "X")}},
    "a broken one first": {"mp-1": {"b": 1}, "mp-2": None, "mp-3": structure(4.0)},
    "no object first": {"a": None, "mp-1": structure(4.0)},
    "labels of a table": {
        "index": [3, 0, "x"],
        "columns": ["structure"],
        "data": [[structure(4.0)], [structure(5.0, "X")], [structure(6.0)]],
    },
    "labels and a row too long": {
        "index": [3, 5],
        "columns": ["structure"],
        "data": [[structure(4.0)], [structure(5.0), 1]],
    },
    "ids of their own": [
        {"id": "a", "structure": structure(4.0)},
        {"id": "b", "structure": structure(5.0, "X")},
    ],
    "an entry": {"id": "a", "atoms": jarvis(4.0)},
    "an entry in a list": [{"structure": structure(4.0, "X")}],
    "nothing": {},
    "no structures": {"a": {"b": 1}, "c": {"d": 2}},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_a_file_is_read_in_a_folder_as_where_it_is_named(tmp_path, layout, start):
    file = written(tmp_path / "in" / "t.json", start + json.dumps(LAYOUTS[layout]))
    named, rejects, _ = load(tmp_path, file)
    met, rejects_there, _ = load(tmp_path, file.parent)
    assert edges(named) == edges(met)
    assert rejects == rejects_there
    if layout == "labels of a table":
        assert list(edges(met)) == ["t#3", "x"]
        assert rejects == [("t#0", RejectReason.UNKNOWN_ELEMENT)]
    if layout == "columns first":
        assert list(edges(met)) == ["t"]


def test_a_file_without_structures_is_one_reject(tmp_path):
    record = {"config": {"out": "x"}, "counts": {"rows_in": 5}, "machine": {"cores": 2}}
    for name, content in (("a", record), ("b", [record] * 9), ("c", [1, 2, 3])):
        written(tmp_path / "in" / f"{name}.json", json.dumps(content))
    written(tmp_path / "in" / "d.cif", NACL)
    expected = [(name, RejectReason.UNREADABLE) for name in "abc"]
    assert load(tmp_path, tmp_path / "in")[1] == expected
    files = [tmp_path / "in" / f"{name}.json" for name in "abc"]
    assert load(tmp_path, *files, tmp_path / "in" / "d.cif", files_per_partition=2)[1] == expected


def test_an_id_that_an_entry_brings_has_its_file_as_source(tmp_path):
    entries = [{"id": f"own-{number}", "structure": structure()} for number in range(2)]
    for name in "abcd":
        written(tmp_path / "in" / f"{name}.json", json.dumps(entries))
    listing = list_sources([str(tmp_path / "in" / "a.json")])
    (partition,) = plan_partitions(listing, str(tmp_path), 9).partitions
    assert source_of(partition, "own-1") == f"{tmp_path}/in/a.json entry own-1"
    (partition,) = plan_partitions(
        list_sources([str(tmp_path / "in")]), str(tmp_path), 9
    ).partitions
    files = " or ".join(f"{tmp_path}/in/{name}.json" for name in "abc")
    assert source_of(partition, "own-1") == f"{files} or ..."


JARVIS = [
    {"jid": "JVASP-1", "formula": "NaCl", "atoms": jarvis(4.0), "gap": 1.5, "slme": "na"},
    {"jid": "JVASP-2", "atoms": jarvis(6.0, cartesian=True), "gap": 2, "slme": 3.5},
    {"jid": "JVASP-3", "atoms": jarvis(6.0, "Q"), "gap": "na", "slme": "na"},
    {"jid": "JVASP-4", "atoms": "na", "gap": 2.0, "slme": 1.0},
]


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
        monkeypatch.setattr("emrl_ray.sources.files.formats.json_stream.WINDOW_BYTES", size)
        assert load(tmp_path, path)[0].equals(whole)
