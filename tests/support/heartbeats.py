"""A lock that beats fast, beside a process that tidies up its folder."""

from __future__ import annotations

import pytest

from emrl_ray.io.paths import names_in, resolve
from emrl_ray.runs import lock
from emrl_ray.runs.lock import FolderLock
from emrl_ray.runs.partitioned_output import PartitionedOutput

SWEEPS, BEATS = 1_000, 100


def sweep_beside_a_beat(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweep a folder 1,000 times, and on until its lock, written each millisecond, beat 100 times."""
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.001)
    output, sweeps, beat = PartitionedOutput(folder, f"{folder}/_rejects"), 0, 0
    with FolderLock(resolve(folder), "featurize") as held:
        while sweeps < SWEEPS or beat < BEATS:
            output.remove_temporaries()
            sweeps += 1
            if sweeps % 10 == 0:
                beat = (held._read() or {"beat": beat})["beat"]
    assert names_in(resolve(folder)) == set()
