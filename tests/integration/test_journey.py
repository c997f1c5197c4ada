"""The journey of a user on a real Ray: files in, a model, a ranked library, predictions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emrl_ray.cli import main
from emrl_ray.io.parquet import read_table
from tests.support.crystal_files import salt

pytestmark = pytest.mark.timeout(600)

FILES = 48
ON_RAY = ["--engine", "ray"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of cubic salts, their volume as target, and a file that holds no crystal."""
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"c{number:02d}.cif").write_text(salt(4 + number / 32))
    (folder / "bad.cif").write_text("no crystal")
    rows = [f"c{number:02d},{(4 + number / 32) ** 3 / 2}" for number in range(FILES)]
    (tmp_path / "id_prop.csv").write_text("\n".join(rows))
    return folder


def run(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def test_from_files_to_a_ranked_library_on_ray(files, tmp_path, ray_session, capsys):
    crystals, model, screened = (tmp_path / name for name in ("crystals", "model", "run"))
    targets = ["--targets", tmp_path / "id_prop.csv", "--target-names", "volume", "--unit", "A^3"]
    run("ingest", files, *targets, "--out", crystals, *ON_RAY)
    learning = ["--epochs", 3, "--cutoff", 5, "--width", 16, "--heads", "linear", "boosted"]
    learning += ["--calibration", 0.25, "--test", 0.2]
    run("train", crystals, "--target", "volume", "--out", model, *learning, *ON_RAY)
    window = ["--target-window", "40:60", "--top", 10]
    run("screen", model, crystals, *window, "--out", screened, "--block-rows", 16, *ON_RAY)
    run("predict", model, files, "--out", tmp_path / "p.parquet")
    said = capsys.readouterr().out
    assert "ingest: 49 rows in = 48 rows out + 1 rejects" in said
    assert "screen: 48 rows in = 48 rows out + 0 rejects" in said
    assert read_table(crystals / "_rejects").column("id").to_pylist() == ["bad"]
    manifest = json.loads((screened / "manifest.json").read_text())
    assert manifest["engine"] == "ray"
    assert manifest["counts"]["slices"] == 3
    shortlist = read_table(screened / "shortlist.parquet")
    assert shortlist.num_rows == 10
    assert (screened / "report.html").stat().st_size > 10_000
    # The same model gives the same numbers, on Ray and in this process.
    columns = ["id", "prediction", "lower", "upper"]
    on_ray = read_table(screened / "predictions", columns).sort_by("id").to_pylist()
    here = read_table(tmp_path / "p.parquet", columns).sort_by("id").to_pylist()
    assert [row["id"] for row in here] == [row["id"] for row in on_ray]
    for name in columns[1:]:
        assert [row[name] for row in here] == pytest.approx([row[name] for row in on_ray])
    assert (tmp_path / "p.parquet.rejects.csv").read_text().count("\n") == 2
