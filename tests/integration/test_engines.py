"""The local engine and Ray leave the same bytes, and each continues what the other began."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emrl_ray.commands.featurize import featurize
from emrl_ray.commands.generate import generate
from emrl_ray.commands.ingest import ingest
from emrl_ray.commands.screen.command import screen
from emrl_ray.commands.train import WORK, train
from emrl_ray.config import FeaturizeConfig, GenerateConfig, IngestConfig, ScreenConfig, TrainConfig
from emrl_ray.distributed.training.checkpoints import Progress
from emrl_ray.distributed.training.local_training import RAY_FOLDER, SNAPSHOT
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.training.trainer import EpochRecord
from tests.support.crystal_files import salt
from tests.support.models import CUTOFF, TARGET, broken, make_model, random_crystals, write_library
from tests.support.paths import ROOT

pytestmark = pytest.mark.timeout(600)

FREE = {"date", "seconds", "throughput", "peak_memory_bytes", "machine", "engine"}
"""Entries of manifests that an engine may change."""


def contents(folder: Path) -> dict[str, Any]:
    """Return what all files of a folder hold, manifests without the entries that may differ.

    The report, which shows the manifest, is left out.
    """
    found: dict[str, Any] = {}
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        if file.name == "report.html" or file.is_dir():
            continue
        if file.name.endswith("manifest.json"):
            found[name] = without_free(json.loads(file.read_text().replace(str(folder), "OUT")))
        else:
            found[name] = file.read_bytes()
    return found


def without_free(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: without_free(value) for key, value in content.items() if key not in FREE}
    return content


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engines") / "files"
    folder.mkdir()
    for number in range(20):
        (folder / f"c{number:02d}.cif").write_text(salt(4 + number / 16))
    (folder / "bad.cif").write_text("no crystal")
    return folder


@pytest.fixture(scope="module")
def crystals(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("engines") / "crystals"
    return write_library(folder, broken(random_crystals(130, 4)), [70, 60])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_model(tmp_path_factory.mktemp("engines") / "model")


def ingested(files: Path, out: Path, engine: Any) -> None:
    options: dict[str, Any] = {"files_per_partition": 8, "engine": engine, "workers": 1}
    ingest(IngestConfig(sources=[str(files)], out=str(out), **options))


def featurized(crystals: str, out: Path, engine: Any) -> None:
    options: dict[str, Any] = {"cutoff": CUTOFF, "block_rows": 50, "engine": engine}
    featurize(FeaturizeConfig(crystals=crystals, out=str(out), **options))


def generated(out: Path, engine: Any) -> None:
    generate(GenerateConfig(out=str(out), count=120, label="ewald", block_rows=50, engine=engine))


def screened(model: str, crystals: str, out: Path, engine: Any) -> None:
    options: dict[str, Any] = {"target_window": "8:12", "top": 20, "block_rows": 40}
    screen(ScreenConfig(model=model, crystals=crystals, out=str(out), engine=engine, **options))


def test_both_engines_leave_the_same_tables_and_runs(files, crystals, model, tmp_path, ray_session):
    for engine in ("local", "ray"):
        ingested(files, tmp_path / engine / "ingested", engine)
        featurized(crystals, tmp_path / engine / "graphs", engine)
        generated(tmp_path / engine / "generated", engine)
        screened(model, crystals, tmp_path / engine / "run", engine)
    for name in ("ingested", "graphs", "generated", "run"):
        local, on_ray = (contents(tmp_path / engine / name) for engine in ("local", "ray"))
        assert local.keys() == on_ray.keys()
        assert [file for file in local if local[file] != on_ray[file]] == []
        assert len(local) > 3


@pytest.mark.parametrize(("first", "second"), [("local", "ray"), ("ray", "local")])
def test_what_one_engine_began_the_other_continues(
    first, second, crystals, model, tmp_path, ray_session
):
    screened(model, crystals, tmp_path / "whole", "local")
    screened(model, crystals, tmp_path / "run", first)
    for name in ("manifest.json", "shortlist.parquet", "predictions/slice-000002.parquet"):
        (tmp_path / "run" / name).unlink()
    kept = tmp_path / "run" / "predictions" / "slice-000000.parquet"
    before = kept.stat().st_mtime_ns
    screened(model, crystals, tmp_path / "run", second)
    assert kept.stat().st_mtime_ns == before
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["counts"].pop("slices_resumed") == manifest["counts"]["slices"] - 1
    whole, run = contents(tmp_path / "whole"), contents(tmp_path / "run")
    assert {name for name in whole if whole[name] != run[name]} == {"manifest.json"}


@pytest.fixture(scope="module")
def labeled(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("engines") / "labeled.parquet"
    write_parquet(random_crystals(60, 2), resolve(place))
    return str(place)


def training(labeled: str, out: Path, **changes: Any) -> TrainConfig:
    options: dict[str, Any] = {"cutoff": CUTOFF, "width": 16, "heads": ["linear"], "epochs": 12}
    options |= {"checkpoint_every": 1, "min_distance": 0.0, "engine": "local", **changes}
    return TrainConfig(crystals=labeled, target=TARGET, out=str(out), **options)


def interrupted_here(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train in this process until an interrupt after epoch 3, whose checkpoint comes later."""

    def press(progress: Progress, record: EpochRecord) -> None:
        if record.epoch == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "__call__", press)
        with pytest.raises(KeyboardInterrupt):
            train(config)


def interrupted_on_ray(config: TrainConfig) -> None:
    """Train on Ray, and press Ctrl-C once a checkpoint is registered."""
    snapshot = Path(config.out) / WORK / RAY_FOLDER / SNAPSHOT

    def press() -> None:
        end = time.monotonic() + 240
        while not snapshot.exists() and time.monotonic() < end:
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        train(config)
    thread.join()


def test_a_training_continues_from_the_checkpoint_of_the_other_engine(
    labeled, tmp_path, ray_session, monkeypatch, capsys
):
    train(training(labeled, tmp_path / "whole"))
    for first, second in (("local", "ray"), ("ray", "local")):
        config = training(labeled, tmp_path / first, engine=first)
        if first == "local":
            interrupted_here(config, monkeypatch)
        else:
            interrupted_on_ray(config)
        assert not (tmp_path / first / "card.json").exists()
        capsys.readouterr()
        train(replace(config, engine=second))
        assert "train: goes on after epoch " in capsys.readouterr().out
        assert contents(tmp_path / first) == contents(tmp_path / "whole")
        assert not (tmp_path / first / WORK).exists()


REFUSED = """
import sys
from emrl_ray.cli import main
for words in {calls!r}:
    assert main(words.split()) == 2, words
    assert not {{"ray", "torch"}} & sys.modules.keys(), words
print("refused")
"""


def test_options_are_checked_before_ray_and_torch_are_imported(labeled, model, tmp_path):
    out = f"--out {tmp_path}/out"
    calls = [
        f"train {labeled} --target {TARGET} --epoch 3 {out}",
        f"train {tmp_path}/none --target {TARGET} {out}",
        f"train {labeled} --target colour {out}",
        f"train {labeled} --target {TARGET} --engine local --workers 2 {out}",
        f"train {labeled} --target {TARGET} --graphs {tmp_path}/none {out}",
        f"screen {model} {tmp_path}/none --maximize {out}",
        f"screen {tmp_path}/none {labeled} --maximize {out}",
        f"screen {model} {labeled} --target-window 2:1 {out}",
        f"ingest {tmp_path}/none {out}",
        f"featurize {tmp_path}/none {out}",
    ]
    code = [sys.executable, "-c", REFUSED.format(calls=calls)]
    done = subprocess.run(code, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("refused\n"), done.stdout + done.stderr
    assert not (tmp_path / "out").exists()


LOCAL_COMMANDS = """
import sys
from emrl_ray.cli import main
files, out = sys.argv[1:]
for words in (
    f"ingest {files} --out {out}/crystals",
    f"generate --count 60 --label ewald --out {out}/known",
    f"featurize {out}/known --out {out}/graphs",
    f"train {out}/known --target ewald_energy --epochs 1 --width 16 --out {out}/model",
    f"screen {out}/model {out}/crystals --maximize --out {out}/run",
):
    assert main(words.split()) == 0
assert not [name for name in sys.modules if name.split(".")[0] == "ray"]
print("no ray")
"""


def test_the_local_engine_never_imports_ray(files, tmp_path):
    code = [sys.executable, "-c", LOCAL_COMMANDS, str(files), str(tmp_path)]
    done = subprocess.run(code, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("no ray\n"), done.stdout + done.stderr
