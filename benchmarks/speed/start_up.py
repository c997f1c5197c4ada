"""What a process costs before its first crystal: wall seconds of the command line, cold and warm."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

COMMAND = Path(sys.executable).with_name("emrl-ray")
CACHE_VARIABLE = "NUMBA_CACHE_DIR"
TEN = 10
FIRST_CALLS = """
import sys, time
import pyarrow.parquet as pq
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.model import Model
model = Model.load(sys.argv[1])
batch = CrystalBatch.from_arrow(pq.read_table(sys.argv[2]).slice(0, 10))
for _ in range(2):
    began = time.perf_counter()
    model.embed(batch)
    print(time.perf_counter() - began)
"""
"""Embeds ten crystals twice in a new process and prints the seconds of each call."""


def start_up(model: str, cifs: Sequence[Path], parquet: Path, scratch: Path, rounds: int) -> Any:
    """Return wall seconds: the help, `predict` on ten CIFs, compiled code made and loaded."""
    ten = scratch / "ten"
    ten.mkdir()
    for file in cifs[:TEN]:
        os.link(file, ten / file.name)
    environment = {**os.environ, CACHE_VARIABLE: str(scratch / "numba-cache")}
    predict = [COMMAND, "predict", model, ten, "--out", scratch / "ten.csv"]
    cold = _seconds(predict, environment)
    embed = [sys.executable, "-c", FIRST_CALLS, model, parquet]
    cached = _first_call(embed, environment)
    fresh = _first_call(embed, {**os.environ, CACHE_VARIABLE: str(scratch / "numba-again")})
    return {
        "emrl-ray --help": _summary([_seconds([COMMAND, "--help"]) for _ in range(rounds)]),
        "predict on ten CIFs": _summary([_seconds(predict, environment) for _ in range(rounds)]),
        "predict on ten CIFs, nothing compiled yet": round(cold, 3),
        "first embed of a process that compiles": round(fresh, 3),
        "first embed of a process that loads the cache": round(cached, 3),
    }


def _seconds(command: Sequence[object], environment: dict[str, str] | None = None) -> float:
    began = time.perf_counter()
    subprocess.run(
        [str(word) for word in command],
        env=environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - began


def _first_call(command: Sequence[object], environment: dict[str, str]) -> float:
    """Return how much longer the first call took than the second."""
    words = [str(word) for word in command]
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    first, second = map(float, done.stdout.split())
    return first - second


def _summary(seconds: list[float]) -> dict[str, float]:
    return {
        "seconds": round(statistics.median(seconds), 3),
        "min": round(min(seconds), 3),
        "max": round(max(seconds), 3),
    }
