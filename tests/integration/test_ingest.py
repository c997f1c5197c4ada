"""Ingest with parsers in processes of their own: files that hang or kill them, and the data of HOIP."""

import importlib
import json
import sys
import tarfile
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
import ray

from emrl_ray.commands import ingest as module
from emrl_ray.commands.ingest import ingest
from emrl_ray.config import IngestConfig
from emrl_ray.io.parquet import read_table
from emrl_ray.io.paths import read_json, resolve
from emrl_ray.sources.files import parser_pool
from tests.support.crystal_files import FRAME, NACL, POSCAR, STRUCTURE, salt
from tests.support.paths import ROOT


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


class BadParserWorker(module.IngestWorker):
    """An ingest worker with a parser that a file can hang or kill."""

    def __init__(self, *arguments):
        sys.path.insert(0, str(ROOT))  # Ray's workers do not have it
        importlib.import_module("tests.support.bad_parsers").install()
        super().__init__(*arguments)


@pytest.fixture
def bad_parser(monkeypatch):
    """Let ingest use a parser that a file can hang or kill."""
    monkeypatch.setattr(parser_pool, "_read_batch", parser_pool._read_batch)  # put back afterwards
    this = sys.modules[__name__]
    ray.cloudpickle.register_pickle_by_value(this)
    monkeypatch.setattr(module, "IngestWorker", BadParserWorker)
    yield
    ray.cloudpickle.unregister_pickle_by_value(this)


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_one_job_reads_all_formats_rejects_what_is_bad_and_goes_on(
    engine, tmp_path, ray_session, bad_parser, capsys
):
    """With files that spoil nothing else, unit/commands/test_ingest.py has more of them."""
    source = write(
        tmp_path / "source",
        a__cif=NACL,
        b__cif="hang",
        c__cif="kill",
        d__cif=salt(6),
        e__vasp=POSCAR,
        f__xyz=FRAME + FRAME.replace("Na 0", "Q 0") + FRAME,
        g__json=json.dumps(STRUCTURE),
        h__cif="",
    )
    write(source / "z", a__cif=salt(7))
    targets = tmp_path / "id_prop.csv"
    ids = ["a", "d", "e", "f#1", "f#3", "g", *"bch"]
    targets.write_text("".join(f"{row_id},{number}\n" for number, row_id in enumerate(ids)))
    result = ingest(config(tmp_path, source, targets=str(targets), timeout=2.0, engine=engine))
    table = read_table(tmp_path / "out")
    assert table.column("id").to_pylist() == ["a", "d", "e", "f#1", "f#3", "g"]
    assert table.column("target").to_pylist() == [0, 1, 2, 3, 4, 5]
    assert table.column("read_by").to_pylist() == ["gemmi"] * 2 + ["pymatgen"] + ["emrl_ray"] * 3
    found = {(row["id"], row["reason"]) for row in rejects(tmp_path)}
    assert found == {
        ("b", "timed_out"),
        ("c", "parser_crashed"),
        ("f#2", "unknown_element"),
        ("h", "empty"),
        ("a", "duplicate_id"),
    }
    duplicate = next(row for row in rejects(tmp_path) if row["reason"] == "duplicate_id")
    assert duplicate["source"] == str(source / "z" / "a.cif")
    assert result.counts.balanced
    assert (result.counts.rows_in, result.counts.rows_out) == (11, 6)
    assert "11 rows in = 6 rows out + 5 rejects (" in capsys.readouterr().out
    manifest = read_json(resolve(tmp_path / "out" / "_manifest.json"))
    assert manifest["counts"]["rejects"] == dict(Counter(reason for _, reason in found))


def test_the_hoip_archive_becomes_the_published_table(tmp_path, data_dir):
    archive = data_dir / "hoip_cifs.tar.gz"
    with tarfile.open(archive) as stream:
        content = stream.extractfile("hoip_cifs/id_prop.csv").read()
    targets = write(tmp_path, id_prop__csv=content) / "id_prop.csv"
    result = ingest(
        config(
            tmp_path,
            archive,
            targets=str(targets),
            target_names=["band_gap"],
            files_per_partition=700,
        )
    )
    assert result.counts == (1345, 1345, {})
    expected = {row["id"]: row for row in pq.read_table(data_dir / "hoip.parquet").to_pylist()}
    for row in read_table(tmp_path / "out").to_pylist():
        published = expected.pop(row["id"])
        assert row["formula"] == published["formula"]
        assert row["band_gap"] == published["band_gap"]
        np.testing.assert_allclose(row["lattice"], published["lattice"], atol=1e-4)
        assert row["atomic_numbers"] == published["atomic_numbers"]
        np.testing.assert_allclose(row["frac_coords"], published["frac_coords"], atol=1e-4)
    assert not expected
