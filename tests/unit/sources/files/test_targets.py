"""Targets from id_prop.csv and from files with a header, and how they come to their crystals."""

import pyarrow as pa
import pytest

from emrl_ray.crystals.schema import RejectReason
from emrl_ray.sources.files.targets import join, read_targets


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "t.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def test_a_file_without_a_header_is_ids_and_numbers(written):
    targets = read_targets(
        written("a,1.5\nb,-2e-3\n\nc, \nd,nan\ne,1e999\n"), unit="eV", theory="PBE"
    )
    assert targets.ids.to_pylist() == ["a", "b", "c", "d", "e"]
    assert targets.values.column("target").to_pylist() == [1.5, -0.002, None, None, None]
    assert targets.values.schema.field("target").metadata == {b"unit": b"eV", b"theory": b"PBE"}


def test_its_columns_have_the_names_that_are_given(written):
    path = written("a,1,2\n")
    assert read_targets(path).values.column_names == ["target", "target_2"]
    assert read_targets(path, ["gap", "energy"]).values.column_names == ["gap", "energy"]


def test_a_file_with_a_header_may_have_columns_of_text(written):
    text = "formula,gap,id,metal,who\nInF,1.5,a,true,InF\nNaCl,,b,false,nan\n"
    targets = read_targets(written("\ufeff" + text), unit="eV")
    assert targets.ids.to_pylist() == ["a", "b"]
    assert targets.values.to_pydict() == {
        "gap": [1.5, None],
        "metal": [True, False],
        "who": ["InF", "nan"],
    }
    assert targets.values.schema.field("who").metadata is None


@pytest.mark.parametrize(
    ("content", "names", "message"),
    [
        ("", [], "is empty"),
        ("a\nb\n", [], "no values beside the ids"),
        ("a,1\nb,x\n", [], "row 2: 'x' is no number"),
        (
            ",Composition,MaterialId\n0,NaCl,0a\n",
            [],
            "column 'id', or another that --id-column names",
        ),
        ("name,gap\na,1\n", [], "row 1: 'gap' is no number .and a header needs a column 'id'"),
        ("a,1\nb,1,2\n", [], "row 2 has 3 fields, not 2"),
        ("a,1\nb,2\na,3\n", [], "'a' has targets twice, entries 1 and 3"),
        ("a,1\n,2\n", [], "entry 2 has no id"),
        ("id,gap,gap\na,1,2\n", [], "two columns have the same name"),
        ("id,who\na,x\n", [], "no column of numbers"),
        ("id,gap\na,1\n", ["gap"], "--target-names: .* has a header"),
        ("a,1,2\n", ["gap"], "--target-names gap: give 2 different names for 2 columns"),
        ("a,1,2\n", ["gap", "gap"], "--target-names gap gap: give 2 different"),
        (b"a\xff,1\n", [], "not a CSV file in UTF-8"),
    ],
)
def test_another_file_is_refused_in_one_line(written, content, names, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_targets(written(content), names)
    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_exist_is_refused():
    with pytest.raises(FileNotFoundError, match=r"--targets nowhere.csv: no such file"):
        read_targets("nowhere.csv")


def test_a_crystal_without_a_target_is_a_reject(written):
    targets = read_targets(written("a,1,\nb,,\nz,5,6\n"))
    crystals = pa.table({"id": ["c", "b", "a"]})
    table, rejects = join(crystals, targets, {"c": "c.cif", "b": "b.cif"}.__getitem__)
    assert table.to_pydict() == {"id": ["a"], "target": [1.0], "target_2": [None]}
    assert [(reject.source, reject.reason, reject.detail) for reject in rejects] == [
        ("c.cif", RejectReason.MISSING_TARGET, "not in the file of targets"),
        ("b.cif", RejectReason.MISSING_TARGET, "its values are empty"),
    ]
