"""One call at a time writes to a folder; who is gone is recognised, whoever lives is left alone."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from emrl_ray.config import UserError
from emrl_ray.io.paths import resolve
from emrl_ray.runs import lock as module
from emrl_ray.runs.lock import LOCK, FolderLock, LockedError
from emrl_ray.runs.run_directory import RECORD, RunDirectory


@pytest.fixture
def short(monkeypatch):
    """Beats and silences that a test can wait for."""
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(module, "STALE_AFTER_SECONDS", 2.0)


def elsewhere(folder: Path, **changed: object) -> dict[str, object]:
    """Write a lock as another machine's call would have, and return it."""
    owner = {"verb": "screen", "host": "node-7", "machine": "node-7 b p", "process": 11}
    owner |= {"began": 1.0, "since": "2026-01-01T00:00:00+00:00", "token": "t", "beat": 3}
    (folder / LOCK).write_text(json.dumps(owner | changed))
    return owner | changed


def test_a_process_id_that_was_given_out_again_is_not_the_owner(tmp_path):
    elsewhere(tmp_path, machine=module._machine(), process=os.getppid(), began=1.0)
    with FolderLock(resolve(tmp_path), "screen"):
        assert (tmp_path / LOCK).exists()


def test_the_lock_of_another_machine_is_taken_over_after_a_silence(tmp_path, short, capsys):
    elsewhere(tmp_path)
    with FolderLock(resolve(tmp_path), "screen"):
        pass
    assert "locked by screen (process 11 on node-7): waiting up to 2 s" in capsys.readouterr().out


def test_the_lock_of_another_machine_that_still_beats_is_left_alone(tmp_path, short):
    elsewhere(tmp_path)
    beat = threading.Timer(0.5, lambda: elsewhere(tmp_path, beat=4))
    beat.start()
    with pytest.raises(LockedError, match="process 11 on node-7"):
        FolderLock(resolve(tmp_path), "screen").__enter__()
    beat.join()
    assert json.loads((tmp_path / LOCK).read_text())["beat"] == 4


def test_an_owner_beats_while_it_works(tmp_path, short):
    with FolderLock(resolve(tmp_path), "screen"):
        seen = set()
        while len(seen) < 3:
            seen.add(json.loads((tmp_path / LOCK).read_text())["beat"])
            time.sleep(0.05)


def test_a_call_whose_lock_was_taken_over_is_interrupted(tmp_path, short):
    def work() -> None:
        with FolderLock(resolve(tmp_path), "screen"):
            elsewhere(tmp_path)
            for _ in range(300):  # a signal just before a sleep does not cut it short
                time.sleep(0.1)

    with pytest.raises(LockedError, match="process 11 on node-7"):
        work()
    assert json.loads((tmp_path / LOCK).read_text())["process"] == 11  # it is theirs


def test_a_call_that_loses_the_race_for_a_new_lock_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module.time, "sleep", lambda _: elsewhere(tmp_path))
    with pytest.raises(LockedError, match="process 11 on node-7"):
        FolderLock(resolve(tmp_path), "screen").__enter__()


def test_a_job_that_is_refused_leaves_no_folder(tmp_path):
    directory = RunDirectory("train", resolve(tmp_path / "new"), {}, {})
    with pytest.raises(UserError), directory.locked(False):
        raise UserError("nothing to train on")
    assert not (tmp_path / "new").exists()


def test_a_lock_alone_makes_no_folder_foreign_and_overwriting_leaves_it(tmp_path):
    directory = RunDirectory("train", resolve(tmp_path), {"epochs": 1}, {})
    with directory.locked(False):
        assert directory.claim(False) is False
        assert directory.claim(True) is False
        assert {file.name for file in tmp_path.iterdir()} == {RECORD, LOCK}
    elsewhere(tmp_path, machine=module._machine(), process=os.getppid())
    (tmp_path / RECORD).unlink()
    with directory.locked(False):
        assert directory.claim(False) is False
