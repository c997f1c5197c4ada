"""Fair timings: works in turn on the same cores, medians and spread, results kept as they come."""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, NamedTuple, Self

from emrl_ray.io.atomic import write_json
from emrl_ray.io.paths import read_json, resolve
from emrl_ray.io.runtime import THREAD_VARIABLES, hardware_info, package_versions

MIN_SECONDS = 0.2
"""A work shorter than this is called several times a round."""


class Stopwatch:
    """Adds up the seconds of the stages of a work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the seconds that pass within the context to `stage`."""
        began = time.perf_counter()
        yield
        passed = time.perf_counter() - began
        self.seconds[stage] = self.seconds.get(stage, 0.0) + passed


class Work(NamedTuple):
    """Something to time."""

    run: Callable[[], object]
    """Called once or more a round; a dict that it returns is the seconds of its stages, and the
    whole is their sum."""
    crystals: int
    """Crystals of one call."""


class Timing(NamedTuple):
    """Microseconds a crystal in each round."""

    rounds: list[float]
    crystals: int
    """Crystals of one call."""
    calls: int = 1
    """Calls in a round."""
    cpu_shares: Sequence[float] = ()
    """CPU seconds of this process in each round, over the seconds that passed: on one core about 1,
    less where the machine was busy with something else or the work is done in other processes."""

    @property
    def median(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.rounds)

    def summary(self) -> dict[str, Any]:
        """Return what stands in the results."""
        content = {
            "us_per_crystal": round(self.median, 3),
            "min": round(min(self.rounds), 3),
            "max": round(max(self.rounds), 3),
            "rounds": len(self.rounds),
            "crystals": self.crystals,
            "calls": self.calls,
        }
        if self.cpu_shares:
            content["cpu_share"] = round(statistics.median(self.cpu_shares), 3)
        return content


def alternate(works: Mapping[str, Work], rounds: int) -> dict[str, Timing]:
    """Time works in turn, round after round (A B A B ...), after a call of each that does not count.

    A work with stages gives a timing for each, named `NAME: STAGE`, beside that of the whole.
    """
    calls = {}
    for name, work in works.items():
        began = time.perf_counter()
        work.run()
        calls[name] = math.ceil(min(MIN_SECONDS / (time.perf_counter() - began), 100))
    found: dict[str, Timing] = {}
    shares: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            began, cpu_began = time.perf_counter(), time.process_time()
            measured = _measured(name, work, calls[name])
            cpu_seconds = time.process_time() - cpu_began
            shares[name].append(cpu_seconds / (time.perf_counter() - began))
            for part, seconds in measured.items():
                timing = found.setdefault(part, Timing([], work.crystals, calls[name]))
                timing.rounds.append(seconds / (work.crystals * calls[name]) * 1e6)
    return {
        name: timing._replace(cpu_shares=shares.get(name, ())) for name, timing in found.items()
    }


def _measured(name: str, work: Work, calls: int) -> dict[str, float]:
    began = time.perf_counter()
    results = [work.run() for _ in range(calls)]
    passed = time.perf_counter() - began
    stages: dict[str, float] = {}
    for result in results:
        if isinstance(result, dict):
            for stage, seconds in result.items():
                stages[f"{name}: {stage}"] = stages.get(f"{name}: {stage}", 0.0) + seconds
    return {name: sum(stages.values()) if stages else passed, **stages}


def marginal(large: Timing, small: Timing) -> Timing:
    """Return the cost of a further crystal, from timings of one work on two numbers of crystals."""
    extra = large.crystals - small.crystals
    rounds = [
        (many * large.crystals - few * small.crystals) / extra
        for many, few in zip(large.rounds, small.rounds, strict=True)
    ]
    return Timing(rounds, extra)


class Ratio(NamedTuple):
    """How many times faster one timing is than another of the same rounds."""

    median: float
    """Of the medians."""
    least: float
    """Of the rounds."""
    most: float

    @classmethod
    def of(cls, theirs: Timing, ours: Timing) -> Ratio:
        """Return theirs / ours."""
        each = [a / b for a, b in zip(theirs.rounds, ours.rounds, strict=True)]
        return cls(theirs.median / ours.median, min(each), max(each))


class Results:
    """A JSON file that is written anew after every result, so that a stopped run keeps its own."""

    def __init__(self, file: str | os.PathLike[str]) -> None:
        """Open `file` with what is in it."""
        self.place = resolve(file)
        self.content: dict[str, Any] = read_json(self.place) if self.place.exists() else {}

    @classmethod
    def begin(cls, file: str | os.PathLike[str], quick: bool, compared: Sequence[str] = ()) -> Self:
        """Begin a file anew with what it was measured on, and the versions of packages `compared`."""
        results = cls(file)
        results.content = {}
        results.put(["complete"], False)
        results.put(["quick"], quick)
        results.put(["machine"], hardware_info())
        results.put(["versions"], package_versions() | {name: version(name) for name in compared})
        return results

    def put(self, path: Sequence[str], value: Any) -> None:
        """Keep a value under the names of `path`, one within the other, and write the file."""
        inner = self.content
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = value
        write_json(self.content, self.place)

    def put_timings(self, path: Sequence[str], timings: Mapping[str, Timing]) -> None:
        """Keep timings by name under `path`, and print them."""
        for name, timing in timings.items():
            self.put([*path, name], timing.summary())
            print(f"{' / '.join(path):40} {name:48} {timing.median:12,.1f} µs", flush=True)

    def put_ratio(self, name: str, ratio: Ratio) -> None:
        """Keep a ratio under `ratios`, with its spread under `ratio_spread`, and print it."""
        self.put(["ratio_spread", name], [round(ratio.least, 2), round(ratio.most, 2)])
        self.put(["ratios", name], round(ratio.median, 2))
        print(f"{name:40} {ratio.median:,.1f} × ({ratio.least:,.1f} to {ratio.most:,.1f})")


def run_pinned(module: str, arguments: Sequence[str], cpus: Sequence[int]) -> None:
    """Run a module as a script on the given CPUs, with a thread for each, and wait for it.

    Affinity and variables are set before it imports anything; processes that it starts inherit both.
    """
    threads = dict.fromkeys((*THREAD_VARIABLES, "NUMBA_NUM_THREADS"), str(len(cpus)))
    subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, **threads},
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
        check=True,
    )
