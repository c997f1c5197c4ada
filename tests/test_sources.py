"""Which files sources name, what they hold, and the slices in which they are read."""

import gzip
import io
import os
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from crystal_files import NACL, load, salt

from emrl_ray.crystals.names import Container, id_of, kind_of
from emrl_ray.crystals.pieces import CsvColumns, RecordSlice, TableSlice, source_of
from emrl_ray.crystals.plan import plan_slices
from emrl_ray.crystals.readers import Format
from emrl_ray.crystals.sources import list_sources
from emrl_ray.crystals.tables import RejectReason


def write(folder, *names, content=NACL):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


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


def test_the_fingerprint_changes_with_the_files(tmp_path):
    write(tmp_path, "a.cif")
    first = list_sources([str(tmp_path)]).fingerprint
    assert list_sources([str(tmp_path)]).fingerprint == first
    write(tmp_path, "b.cif")
    assert list_sources([str(tmp_path)]).fingerprint != first


def tar(path, members, mode):
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("link.cif")
        link.type = tarfile.SYMTYPE
        link.linkname = "a.cif"
        archive.addfile(link)


MEMBERS = [(f"d/c{number}.cif", salt(4 + number).encode()) for number in range(5)]
MEMBERS += [("id_prop.csv", b"c0,1"), ("._d/c0.cif", b""), ("big.cif", b" " * 2000)]


@pytest.mark.parametrize("kind", ["w:tar", "w:gz.tar.gz", "w:bz2.tbz2", "w:xz.tar.xz", "zip"])
def test_the_members_of_an_archive_are_its_crystals(tmp_path, kind):
    if kind == "zip":
        path = tmp_path / "x.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.mkdir("d")
            for number, (name, content) in enumerate(MEMBERS):
                archive.writestr(
                    name, content, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[number % 2]
                )
    else:
        mode, _, ending = kind.partition(".") if "." in kind else ("w:", "", "tar")
        path = tmp_path / f"x.{ending}"
        tar(path, MEMBERS, mode)
    crystals, rejects, plan = load(tmp_path, path)
    assert crystals.column("id").to_pylist() == [f"c{number}" for number in range(5)]
    assert [row[0] for row in crystals.column("lattice").to_pylist()] == [4, 5, 6, 7, 8]
    assert rejects == [("big", RejectReason.EMPTY)]
    assert plan.passed_over.paths == [f"{path}/id_prop.csv"]
    assert source_of(plan.slices[0], "c1") == f"{path}/d/c1.cif"
    assert [piece.name for piece in plan.slices] == ["slice-000000", "slice-000001"]


def test_a_compressed_tar_is_unpacked_once(tmp_path):
    tar(tmp_path / "x.tar.gz", MEMBERS, "w:gz")
    load(tmp_path, tmp_path / "x.tar.gz")
    (staged,) = (tmp_path / "staged").iterdir()
    before = staged.stat().st_mtime_ns
    load(tmp_path, tmp_path / "x.tar.gz")
    assert staged.stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["cut", "header", "gzip", "zip", "empty"])
def test_a_damaged_archive_is_refused_in_one_line(tmp_path, damage):
    path = tmp_path / ("x.zip" if damage == "zip" else "x.tar.gz" if damage == "gzip" else "x.tar")
    tar(path, MEMBERS, "w")
    content = path.read_bytes()
    if damage == "header":
        content = content[:1024] + b"\7" * 512 + content[1536:]
    elif damage == "gzip":
        content = gzip.compress(content)
    path.write_bytes(b"" if damage == "empty" else content[: len(content) // 3])
    with pytest.raises(ValueError, match="damaged archive") as caught:
        load(tmp_path, path)
    assert "\n" not in str(caught.value)


def test_a_damaged_member_of_a_zip_is_a_reject(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in MEMBERS[:4]:
            archive.writestr(name, content)
    content = bytearray(path.read_bytes())
    content[content.index(b"Na1 Na")] ^= 1  # wrong checksum
    entry = content.index(b"PK\1\2", content.index(b"PK\1\2") + 4)
    content[entry + 8] |= 1  # the second is encrypted
    entry = content.index(b"PK\1\2", entry + 4)
    content[entry + 10] = 99  # an unknown method
    path.write_bytes(content)
    crystals, rejects, _ = load(tmp_path, path)
    assert crystals.column("id").to_pylist() == ["c3"]
    assert rejects == [(f"c{number}", RejectReason.UNREADABLE) for number in range(3)]


def test_a_file_that_cannot_be_opened_or_is_too_large_is_a_reject(tmp_path, monkeypatch):
    write(tmp_path, "a.cif", "b.cif", "c.cif")
    write(tmp_path, "d.cif", content=NACL + "# " + "x" * 3000)
    monkeypatch.setattr("emrl_ray.crystals.archives.MAX_CONTENT_BYTES", 2000)
    crystals, rejects, _ = load(tmp_path, tmp_path, meanwhile=(tmp_path / "b.cif").unlink)
    assert crystals.column("id").to_pylist() == ["a", "c"]
    assert rejects == [("b", RejectReason.UNREADABLE), ("d", RejectReason.UNREADABLE)]


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


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
    assert all(isinstance(piece, RecordSlice) for piece in plan.slices)
    assert [piece.first_record for piece in plan.slices] == [1, 4, 7]


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
    assert isinstance(plan.slices[0], TableSlice)


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


def test_names_are_kept_as_columns_of_some_hundred_bytes_a_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for number in range(3000):
            archive.writestr(f"by_id/{number:010x}.CIF", b"")
    write(tmp_path, *(f"in/c{number}.cif" for number in range(500)), content=b"")
    listing = list_sources([f"{tmp_path}/x.zip", f"{tmp_path}/in"])
    assert listing.table.nbytes < 501 * (100 + len(str(tmp_path)))
    plan = plan_slices(listing, str(tmp_path), 500)
    assert [piece.table.num_rows for piece in plan.slices] == [500] * 7
    size = sum(piece.table.nbytes for piece in plan.slices)
    assert size < 3500 * (150 + 2 * len(str(tmp_path)))


def test_a_file_with_an_odd_name_in_an_archive_is_read(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        info = tarfile.TarInfo(b"d/\xff.cif".decode("utf-8", "surrogateescape"))
        info.size = len(NACL)
        archive.addfile(info, io.BytesIO(NACL.encode()))
    crystals, rejects, _ = load(tmp_path, tmp_path / "x.tar")
    assert crystals.column("id").to_pylist() == ["\ufffd"]
    assert rejects == []
