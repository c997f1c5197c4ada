"""Tables as sources: CSV files of CIFs and Parquet files of crystals."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emrl_ray.crystals.schema import RejectReason
from emrl_ray.sources.files.partitions import CsvColumns, RecordPartition, TablePartition
from tests.support.crystal_files import NACL, cif, edges, load, readers, salt, write, written


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_csv_of_cifs(tmp_path, name):
    cells = ['"' + text.replace('"', '""') + '"' for text in (salt(4), cif(["X1 X 0 0 0 1"]))]
    content = "id,cif,gap\n" + "".join(f"c{k},{cell},{k}.5\n" for k, cell in enumerate(cells))
    crystals, rejects, _ = load(tmp_path, written(tmp_path / name, content))
    assert edges(crystals) == {"c0": 4}
    assert readers(crystals) == {"gemmi"}
    assert crystals.column("gap").to_pylist() == [0.5]
    assert rejects == [("c1", RejectReason.UNKNOWN_ELEMENT)]


def test_a_csv_gives_a_crystal_a_record_and_its_columns(tmp_path):
    lines = [
        "material_id,gap,cif,metal,note,none",
        *(f"mp-{i},{i}.5,{quoted(salt(4 + i))},{i % 2 == 0},n{i}," for i in range(5)),
        f",,{quoted(salt(9))},,,",
        "mp-6,1,2",
        'mp-7,nan,"",true,x,',
    ]
    content = "\r\n".join(lines).encode() + b'\r\nmp-8,3,"data_\xff",true,\xff,\r\n'
    write(tmp_path, "t.csv", content=b"\xef\xbb\xbf" + content)
    columns = CsvColumns(id="material_id")
    crystals, rejects, plan = load(tmp_path, tmp_path / "t.csv", columns=columns)
    ids = crystals.column("id").to_pylist()
    assert ids[:5] == [f"mp-{i}" for i in range(5)]
    assert len(ids[5]) == 16
    assert [row[0] for row in crystals.column("lattice").to_pylist()] == [4, 5, 6, 7, 8, 9]
    assert crystals.column("gap").to_pylist() == [0.5, 1.5, 2.5, 3.5, 4.5, None]
    assert crystals.column("metal").to_pylist() == [True, False, True, False, True, None]
    assert crystals.column("note").to_pylist() == ["n0", "n1", "n2", "n3", "n4", None]
    assert crystals.schema.field("none").type == pa.float64()
    assert [reason for _, reason in rejects] == [
        RejectReason.UNREADABLE,
        RejectReason.EMPTY,
        RejectReason.NOT_UTF8,
    ]
    assert all(isinstance(partition, RecordPartition) for partition in plan.partitions)
    assert [partition.first_record for partition in plan.partitions] == [1, 4, 7]


@pytest.mark.parametrize(
    ("header", "columns", "message"),
    [
        ("id,structure", CsvColumns(), r"no column 'cif' \(it has id, structure\).*--cif-column"),
        ("id,cif", CsvColumns(id="name"), "no column 'name'.*--id-column"),
        ("id,cif,x,x", CsvColumns(), "two columns have the name 'x'"),
        ("", CsvColumns(), "no column 'cif'"),
    ],
)
def test_a_csv_without_the_columns_is_refused_in_one_line(tmp_path, header, columns, message):
    write(tmp_path, "t.csv", content=header + "\n")
    with pytest.raises(ValueError, match=message):
        load(tmp_path, tmp_path / "t.csv", columns=columns)


def test_a_table_without_crystals_is_refused_with_the_columns_that_it_has(tmp_path):
    pq.write_table(pa.table({"x": [1]}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"column 'lattice' is missing \(it has x\)$"):
        load(tmp_path, tmp_path / "t.parquet")


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


def parquet(path, **columns):
    rows = {
        "id": ["p0", "p1"],
        "lattice": [[5.0, 0, 0, 0, 5.0, 0, 0, 0, 5.0]] * 2,
        "atomic_numbers": [[11, 17], [11, 300]],
        "frac_coords": [[0, 0, 0, 0.5, 0.5, 0.5]] * 2,
        **columns,
    }
    rows = {name: values for name, values in rows.items() if values is not None}
    pq.write_table(pa.table(rows), path)


def test_parquet_rows_are_validated_and_take_the_types_of_a_crystals_table(tmp_path):
    parquet(tmp_path / "a.parquet", gap=[1.0, 2.0])
    crystals, rejects, plan = load(tmp_path, tmp_path)
    assert crystals.column("formula").to_pylist() == ["NaCl"]
    assert crystals.schema.field("atomic_numbers").type == pa.list_(pa.uint8())
    assert crystals.column("gap").to_pylist() == [1.0]
    assert rejects == [("p1", RejectReason.UNKNOWN_ELEMENT)]
    assert isinstance(plan.partitions[0], TablePartition)


def test_rows_without_an_id_have_a_hash_of_their_content(tmp_path):
    parquet(tmp_path / "a.parquet", id=None, atomic_numbers=[[11, 17], [11, 35]])
    ids = load(tmp_path, tmp_path)[0].column("id").to_pylist()
    assert len({*ids}) == 2
    assert load(tmp_path, tmp_path)[0].column("id").to_pylist() == ids


def test_files_of_different_kinds_make_one_table(tmp_path):
    write(tmp_path, "c.cif")
    parquet(tmp_path / "d.parquet", gap=[1.0, 2.0])
    write(tmp_path, "e.csv", content=f"id,cif,note\ne,{quoted(NACL)},x\n")
    crystals, _, _ = load(tmp_path, tmp_path, tmp_path / "e.csv")
    assert crystals.column("id").to_pylist() == ["c", "p0", "e"]
    assert crystals.column("gap").to_pylist() == [None, 1.0, None]
    assert crystals.column("note").to_pylist() == [None, None, "x"]


def test_columns_of_one_name_and_different_types_are_refused(tmp_path):
    parquet(tmp_path / "a.parquet", gap=[1.0, 2.0])
    parquet(tmp_path / "b.parquet", gap=["1", "2"])
    with pytest.raises(ValueError, match="column 'gap' is string, in an earlier file double"):
        load(tmp_path, tmp_path)


def test_a_parquet_file_that_is_none_or_another_table_is_refused(tmp_path):
    write(tmp_path, "a.parquet", content=b"PAR1 not")
    with pytest.raises(ValueError, match="not a Parquet file"):
        load(tmp_path, tmp_path)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="not a crystals table"):
        load(tmp_path, tmp_path)
