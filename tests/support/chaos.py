"""A screen whose processes are killed at moments that a test names, until it is done."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import psutil

from tests.support.clusters import add_node, slice_workers
from tests.support.processes import ScreenCall

VICTIMS = ("driver", "worker", "node")
Moment = Callable[[ScreenCall], bool]
"""Waits until a moment has come; returns whether the call still runs then."""


class Kill(NamedTuple):
    """What was killed, and when."""

    seconds: float
    """Since the first call."""
    victim: str
    partitions: int
    """That were there."""


class Survived(NamedTuple):
    """What it took to finish."""

    kills: list[Kill]
    calls: int
    seconds: float


def after(seconds: float) -> Moment:
    """Return the moment so many seconds after the one before."""

    def wait(call: ScreenCall) -> bool:
        due = time.monotonic() + seconds
        return call.reaches(lambda: time.monotonic() >= due)

    return wait


def at_slices(count: int) -> Moment:
    """Return the moment when so many partitions are there."""
    return lambda call: call.reaches(lambda: len(call.partitions()) >= count)


def survive(
    cluster: Any, options: Mapping[str, Any], draws: random.Random, moments: Iterable[Moment]
) -> Survived:
    """Run a screen on a cluster of nodes that work, killing one of its processes at each moment.

    Which, is drawn. A killed driver is called again at once, and a killed node is replaced at once,
    as an autoscaler would in a minute.
    """
    began = time.monotonic()
    call, calls, done = ScreenCall(options), 1, []
    for moment in moments:
        victim = draws.choice(VICTIMS)
        if not moment(call):
            break
        kill = Kill(round(time.monotonic() - began, 1), victim, len(call.partitions()))
        if victim == "driver":
            call.kill()
            call, calls = ScreenCall(options), calls + 1
        elif victim == "node":
            _replace_a_node(cluster, draws)
        elif not _kill_a_worker(cluster, draws):
            continue
        done.append(kill)
    call.wait()
    return Survived(done, calls, round(time.monotonic() - began, 1))


def _replace_a_node(cluster: Any, draws: random.Random) -> None:
    """SIGKILL all of a node that works, and add another like it."""
    node = draws.choice(sorted(cluster.worker_nodes, key=id))
    cluster.remove_node(node, allow_graceful=False)
    add_node(cluster, int(node.get_resource_and_label_spec().num_cpus))


def _kill_a_worker(cluster: Any, draws: random.Random) -> bool:
    """SIGKILL a process that computes partitions, if there is one; return whether there was."""
    workers = slice_workers(*cluster.worker_nodes)
    if not workers:  # between two calls there is none
        return False
    victim: psutil.Process = draws.choice(sorted(workers, key=lambda worker: worker.pid))
    victim.kill()
    return True
