"""A lock that another process holds, and what becomes of it when that process is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from emrl_ray.io.paths import resolve
from emrl_ray.runs import lock as module
from emrl_ray.runs.lock import LOCK, FolderLock, LockedError

HOLD = """
import sys, time
from emrl_ray.io.paths import resolve
from emrl_ray.runs.lock import FolderLock
with FolderLock(resolve(sys.argv[1]), "screen"):
    print("held", flush=True)
    time.sleep(120)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_folder_in_use_is_refused_in_one_line_that_names_the_owner(tmp_path, holder):
    with pytest.raises(LockedError, match=rf"in use: screen \(process {holder.pid} on .*stop it"):
        FolderLock(resolve(tmp_path), "screen").__enter__()
    assert json.loads((tmp_path / LOCK).read_text())["process"] == holder.pid


def test_the_lock_of_a_killed_owner_on_this_machine_is_taken_over_at_once(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    began = time.monotonic()
    with FolderLock(resolve(tmp_path), "screen"):
        assert json.loads((tmp_path / LOCK).read_text())["process"] == os.getpid()
    assert time.monotonic() - began < module.STALE_AFTER_SECONDS / 2
    assert list(tmp_path.iterdir()) == []
