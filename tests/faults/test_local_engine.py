"""A command on the local engine that is killed, interrupted, or called twice leaves what others leave."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from emrl_ray.commands.ingest import ingest
from emrl_ray.commands.screen.command import screen
from emrl_ray.commands.train import WORK, train
from emrl_ray.config import IngestConfig, ScreenConfig, TrainConfig
from emrl_ray.distributed.training.local_training import LOCAL_FOLDER, STATE
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve
from tests.support.crystal_files import salt
from tests.support.models import CUTOFF, TARGET, broken, make_model, random_crystals, write_library
from tests.support.preload import preloaded
from tests.support.processes import Call, ScreenCall, TrainCall, assert_same, contents

pytestmark = pytest.mark.timeout(300)

ROWS, BLOCK_ROWS = 300, 2
FILES = 120


class IngestCall(Call):
    """A call of `emrl-ray ingest`."""

    verb = "ingest"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a model, a library, and crystals to learn from."""
    place = tmp_path_factory.mktemp("local")
    make_model(place / "model")
    write_library(place / "library", broken(random_crystals(ROWS, 1, "lib")), [172, 128])
    write_parquet(random_crystals(60, 2), resolve(place / "labeled.parquet"))
    return place


def screening(place: Path, out: str, **changes: Any) -> dict[str, Any]:
    chosen = {"model": str(place / "model"), "crystals": str(place / "library")}
    chosen |= {"out": str(place / out), "target_window": "15:25", "top": 20}
    return {**chosen, "block_rows": BLOCK_ROWS, "engine": "local", **changes}


@pytest.fixture(scope="module")
def undisturbed(place: Path) -> Path:
    """A run to which nothing happened."""
    screen(ScreenConfig(**screening(place, "undisturbed")))
    return place / "undisturbed"


def killed_screen(place: Path, out: str) -> dict[str, int]:
    """Start a screen and kill it; return the partitions that it left, with the times when they were written."""
    call = ScreenCall(screening(place, out))
    call.until(5)
    call.kill()
    survivors = {file.name: file.stat().st_mtime_ns for file in call.partitions()}
    assert 5 <= len(survivors) < ROWS / BLOCK_ROWS
    assert not (place / out / "manifest.json").exists()
    return survivors


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_driver_killed_half_way_and_called_again_ends_as_an_undisturbed_run(
    engine, place, undisturbed, ray_session
):
    survivors = killed_screen(place, f"killed-{engine}")
    options = screening(place, f"killed-{engine}", engine=engine)
    resumed = screen(ScreenConfig(**options))
    assert resumed.manifest["counts"]["slices_resumed"] == len(survivors)
    for name, written in survivors.items():
        file = Path(options["out"]) / "predictions" / name
        assert file.stat().st_mtime_ns == written
    assert_same(Path(options["out"]), undisturbed, str(place / "library"))


def test_of_two_calls_at_once_one_is_refused(place, undisturbed):
    calls = [ScreenCall(screening(place, "twice")) for _ in range(2)]
    (first, said), (second, refusal) = sorted(call.end() for call in calls)
    assert (first, second) == (0, 2), f"{said}\n{refusal}"
    assert "/twice is in use: screen (process" in refusal
    assert_same(place / "twice", undisturbed, str(place / "library"))


def test_a_store_that_fails_one_write_in_twenty_is_written_to_again(place, undisturbed, tmp_path):
    log = place / "failures"
    call = ScreenCall(
        screening(place, "store"),
        {
            **preloaded("failing_writes", tmp_path),
            "FAILING_UNDER": str(place / "store"),
            "FAILING_SHARE": "0.05",
            "FAILING_LOG": str(log),
        },
    )
    call.wait()
    assert log.stat().st_size >= 5
    assert_same(call.out, undisturbed, str(place / "library"))


def test_a_killed_reading_goes_on_with_the_slices_that_are_missing(tmp_path, capsys):
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"c{number:03d}.cif").write_text(salt(4 + number / 64))
    options = {"sources": [str(folder)], "files_per_partition": 2, "engine": "local"}
    ingest(IngestConfig(out=str(tmp_path / "whole"), **options))
    out = tmp_path / "killed"
    call = IngestCall({**options, "out": out})
    call.until_reached(lambda: len(list(out.glob("slice-*.parquet"))) >= 5)
    call.kill()
    survivors = {file: file.stat().st_mtime_ns for file in out.glob("slice-*.parquet")}
    assert 5 <= len(survivors) < FILES / 2
    assert not (out / "_manifest.json").exists()
    capsys.readouterr()
    counts = ingest(IngestConfig(out=str(out), **options)).counts
    assert (counts.rows_in, counts.rows_out) == (FILES, FILES)
    assert (
        f"60 partitions, {len(survivors)} of them done by an earlier call"
        in capsys.readouterr().out
    )
    assert {file: file.stat().st_mtime_ns for file in survivors} == survivors
    whole, found = contents(tmp_path / "whole"), contents(out)
    differing = {name for name in whole.keys() | found.keys() if whole.get(name) != found.get(name)}
    assert differing == {"_manifest.json"}  # it has times and the path
    manifests = [json.loads(each["_manifest.json"]) for each in (whole, found)]
    assert manifests[0]["counts"] == manifests[1]["counts"]


def training(place: Path, out: Path, **changes: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"cutoff": CUTOFF, "width": 16, "heads": ["linear"], "epochs": 60}
    options |= {"crystals": str(place / "labeled.parquet"), "target": TARGET, "out": str(out)}
    return {**options, "checkpoint_every": 1, "min_distance": 0.0, "engine": "local", **changes}


def checkpoint(call: TrainCall) -> Path:
    """Return where a training in one process keeps its checkpoint."""
    return call.out / WORK / LOCAL_FOLDER / STATE


def test_a_killed_training_called_again_changes_nothing(place, tmp_path, capsys):
    train(TrainConfig(**training(place, tmp_path / "whole")))
    options = training(place, tmp_path / "killed")
    call = TrainCall({**options, "heads": "linear"})
    call.until_reached(lambda: checkpoint(call).exists())
    call.kill()
    assert not (call.out / "card.json").exists()
    capsys.readouterr()
    train(TrainConfig(**options))
    assert "goes on after epoch" in capsys.readouterr().out
    assert contents(call.out) == contents(tmp_path / "whole")
    assert not (call.out / WORK).exists()


def test_an_interrupted_training_says_so_in_one_line_and_ends_with_status_130(place, tmp_path):
    options = training(place, tmp_path / "model", epochs=10**6)
    call = TrainCall({**options, "heads": "linear"})
    call.until_reached(lambda: checkpoint(call).exists())
    os.kill(call.pid, signal.SIGINT)
    status, said = call.end()
    assert status == 130, said
    assert said.splitlines()[-1] == (
        "emrl-ray train: interrupted; the same command goes on from here"
    )
    assert "Traceback" not in said
    assert not (call.out / "_lock.json").exists()
