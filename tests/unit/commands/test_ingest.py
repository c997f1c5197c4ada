"""Ingest, parsing in this process: bad files, duplicates, targets, resume and refusals."""

import gzip
import json
import shutil
import tarfile
from collections import Counter

import pyarrow as pa
import pytest

from emrl_ray.commands import ingest as module
from emrl_ray.commands.ingest import ingest
from emrl_ray.config import IngestConfig, UserError
from emrl_ray.crystals.matching.duplicate_ids import duplicated
from emrl_ray.io.parquet import read_table
from emrl_ray.io.paths import read_json, resolve
from tests.support.crystal_files import FRAME, NACL, POSCAR, STRUCTURE, cif, salt
from tests.support.parsing_here import parse_here


@pytest.fixture(autouse=True)
def pool(monkeypatch):
    parse_here(monkeypatch)


def write(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        name = name.replace("__", ".")
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def config(tmp_path, source, **options):
    defaults = {"workers": 1, "files_per_partition": 4, "out": str(tmp_path / "out")}
    return IngestConfig(sources=[str(source)], **{**defaults, **options})


def rejects(tmp_path):
    return read_table(tmp_path / "out" / "_rejects").to_pylist()


def test_one_job_reads_all_formats_and_rejects_what_is_bad(tmp_path, capsys):
    source = write(
        tmp_path / "source",
        a__cif=NACL,
        d__cif=salt(6),
        e__vasp=POSCAR,
        f__xyz=FRAME + FRAME.replace("Na 0", "Q 0") + FRAME,
        g__json=json.dumps(STRUCTURE),
        h__cif="",
        i__cif=b"data_\xff",
        j__cif="nonsense",
        k__cif=cif(["Na1 Na 0 0 0 0.5"]),
        l__cif=cif(["X1 X 0 0 0 1"]),
        m__cif=cif(["Na1 Na 0 0 0 1", "Na2 Na 0.01 0 0 1"]),
        n__cif=cif(["Na1 Na 0 0 0 1"], cell=(0.1, 0.1, 0.1, 90, 90, 90)),
        o__cif=cif([f"H{i} H {i / 30} 0 0 1" for i in range(30)], cell=(30, 5, 5, 90, 90, 90)),
        p__cif=cif(["Na1 Na 0 0 0 1"], cell=(5, 5, 5, 60, 60, 170)),
        q__cif=cif(["Na1 Na 0 0 ? 1"]),
        r__cif="data_x\n",
        s__cif=NACL,
        notes__txt="",
    )
    write(source / "z", a__cif=salt(7))
    ids = ["a", "d", "e", "f#1", "f#3", "g", "t", *"hijklmnopqr"]
    targets = tmp_path / "id_prop.csv"
    targets.write_text("".join(f"{row_id},{number}\n" for number, row_id in enumerate(ids)))
    result = ingest(
        config(
            tmp_path,
            source,
            targets=str(targets),
            max_atoms=20,
            unit="eV",
            theory="PBE",
        )
    )
    table = read_table(tmp_path / "out")
    assert table.column("id").to_pylist() == ["a", "d", "e", "f#1", "f#3", "g"]
    assert table.column("target").to_pylist() == [0, 1, 2, 3, 4, 5]
    assert table.column("read_by").to_pylist() == ["gemmi"] * 2 + ["pymatgen"] + ["emrl_ray"] * 3
    assert table.schema.field("target").metadata == {b"unit": b"eV", b"theory": b"PBE"}
    found = {(row["id"], row["reason"]) for row in rejects(tmp_path)}
    assert found == {
        ("f#2", "unknown_element"),
        ("h", "empty"),
        ("i", "not_utf8"),
        ("j", "unreadable"),
        ("k", "disordered"),
        ("l", "unknown_element"),
        ("m", "overlapping_sites"),
        ("n", "too_many_pairs"),
        ("o", "too_many_atoms"),
        ("p", "bad_cell"),
        ("q", "bad_coordinates"),
        ("r", "no_atoms"),
        ("s", "missing_target"),
        ("a", "duplicate_id"),
    }
    duplicate = next(row for row in rejects(tmp_path) if row["reason"] == "duplicate_id")
    assert duplicate["source"] == str(source / "z" / "a.cif")
    assert result.counts.balanced
    assert (result.counts.rows_in, result.counts.rows_out) == (20, 6)
    said = capsys.readouterr().out
    assert "1 other files were skipped (notes.txt)" in said
    assert "1 targets have no crystal (t)" in said
    assert "20 rows in = 6 rows out + 14 rejects (" in said
    manifest = read_json(resolve(tmp_path / "out" / "_manifest.json"))
    assert manifest["counts"]["rejects"] == dict(Counter(reason for _, reason in found))


def test_an_archive_that_cannot_be_read_leaves_nothing(tmp_path):
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(ValueError, match=rf"^{tmp_path}/x.tar.gz: damaged archive \(empty file\)"):
        ingest(config(tmp_path, tmp_path / "x.tar.gz"))
    assert not (tmp_path / "out").exists()


def test_the_same_call_goes_on_and_ends_with_the_same_table(tmp_path, capsys):
    source = tmp_path / "source"
    for folder, edges in (("one", (4, 5, 6)), ("two", (7, 8, 9))):
        source.mkdir(exist_ok=True)
        write(source / folder, **{f"c{edge % 4}__cif": salt(edge) for edge in edges})
    archive = tmp_path / "x.tar.gz"
    with tarfile.open(archive, "w:gz") as stream:
        stream.add(source, "source")
    job = config(tmp_path, archive, files_per_partition=2)
    first = ingest(job)
    assert first.counts == (6, 4, {"duplicate_id": 2})
    out = tmp_path / "out"
    whole = read_table(out)
    rejected = rejects(tmp_path)
    assert whole.column("id").to_pylist() == ["c0", "c1", "c2", "c3"]
    assert not (out / "_staged").exists()

    for name in ("slice-000000", "slice-000002"):
        (out / f"{name}.parquet").unlink()
        kept = (out / "slice-000001.parquet").stat().st_mtime_ns
        again = ingest(job)
        assert again.counts == first.counts
        assert read_table(out).equals(whole)
        assert rejects(tmp_path) == rejected
        assert (out / "slice-000001.parquet").stat().st_mtime_ns == kept

    capsys.readouterr()
    assert ingest(job).counts == first.counts
    assert "is finished, nothing to do" in capsys.readouterr().out
    assert not (out / "_staged").exists()

    with pytest.raises(
        UserError, match=r"--max-atoms was 1000, is 9.*--overwrite or another --out"
    ):
        ingest(config(tmp_path, archive, files_per_partition=2, max_atoms=9))
    archive.touch()
    with pytest.raises(UserError, match="what --sources names is not what it was"):
        ingest(job)
    assert read_table(out).equals(whole)

    other = ingest(config(tmp_path, source / "one", overwrite=True))
    assert other.counts == (3, 3, {})
    assert read_table(out).column("id").to_pylist() == ["c0", "c1", "c2"]
    assert not (out / "_rejects").exists()


def test_a_repeated_id_killed_between_rejects_and_rows_is_settled_by_the_next_call(tmp_path):
    source = write(tmp_path / "source", a__cif=NACL)
    write(source / "z", a__cif=NACL, b__cif=NACL)
    plan = module.plan_partitions(
        module.list_sources([str(source)]), str(tmp_path / "_staged"), 500
    )
    output = module.PartitionedOutput(str(tmp_path / "out"), str(tmp_path / "out" / "_rejects"))
    table = pa.table({"id": ["a", "a", "b"]})
    name = plan.partitions[0].name
    output.commit(name, table, [], 3)
    module.reject_duplicate_ids(plan.partitions, output, module.source_of)
    settled = output.completed()[name]
    expected = rejects(tmp_path)
    assert settled == (3, 2, {"duplicate_id": 1})
    half = tmp_path / "half.parquet"
    shutil.copy(tmp_path / "out" / "_rejects" / f"{name}.parquet", half)
    output.commit(name, table, [], 3)  # rows as before, and the rejects of the half-done call
    shutil.copy(half, tmp_path / "out" / "_rejects" / f"{name}.parquet")
    module.reject_duplicate_ids(plan.partitions, output, module.source_of)
    assert output.completed()[name] == settled
    assert rejects(tmp_path) == expected


def test_repeated_ids_are_those_after_the_first():
    columns = [pa.array(ids, pa.string()) for ids in (["a", "b"], [], ["b", "c", "c"], ["a"])]
    flags = [flag.tolist() for flag in duplicated(columns)]
    assert flags == [[False, False], [], [True, False, True], [True]]
    assert [flag.tolist() for flag in duplicated(columns[:2])] == [[False, False], []]
    assert duplicated([]) == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sources": ["absent"]}, FileNotFoundError, "absent: no such file or folder"),
        ({"targets": "absent.csv"}, FileNotFoundError, "--targets absent.csv: no such file"),
        ({"unit": "eV"}, UserError, "--unit, --theory: need --targets"),
        ({"sources": ["{tmp}/empty.csv"]}, UserError, "no crystals there"),
        ({"sources": [""]}, UserError, "the source is empty"),
        ({"out": "{tmp}/foreign"}, UserError, "holds files but no _run.json"),
        ({"out": "{tmp}/foreign", "overwrite": True}, UserError, "holds files but no _run.json"),
        (
            {"sources": ["{tmp}/t.csv"], "targets": "{tmp}/gap.csv"},
            UserError,
            "a column 'gap' too",
        ),
    ],
)
def test_what_cannot_be_met_is_refused_in_one_line_before_any_work(
    tmp_path, options, error, message
):
    write(tmp_path / "source", a__cif=NACL)
    write(tmp_path / "foreign", precious__txt="")
    write(tmp_path, empty__csv="id,cif\n", t__csv="id,cif,gap\na,b,1\n", gap__csv="id,gap\na,1\n")
    filled = json.loads(json.dumps(options).replace("{tmp}", str(tmp_path)))
    arguments = {"sources": [str(tmp_path / "source")], "out": str(tmp_path / "out"), **filled}
    with pytest.raises(error, match=message) as caught:
        ingest(IngestConfig(**arguments))
    assert "\n" not in str(caught.value)
    assert (tmp_path / "foreign" / "precious.txt").exists()
    assert not (tmp_path / "out" / "_run.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": []}, "sources: name at least one"),
        ({"target_names": ["gap"]}, "--target-names gap: needs --targets"),
        ({"timeout": 0}, "--timeout 0: must be above 0"),
        ({"cutoff": -1}, "--cutoff -1: must be above 0"),
        ({"min_distance": -1}, "--min.distance -1: must be at least 0"),
        ({"files_per_partition": 0}, "--files.per.partition 0: must be at least 1"),
    ],
)
def test_options_that_contradict_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        IngestConfig(**{"sources": ["x"], "out": "y", **options})
