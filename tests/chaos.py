"""A screen whose processes are killed at moments that a seed draws, until it is done."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import psutil

from tests.screen_calls import Call, workers_below

VICTIMS = ("driver", "worker", "node")
CPUS_A_NODE = 1


class Kill(NamedTuple):
    """What was killed, and when."""

    seconds: float
    """Since the first call."""
    victim: str
    slices: int
    """That were there."""


class Survived(NamedTuple):
    """What it took to finish."""

    kills: list[Kill]
    calls: int
    seconds: float


def survive(
    cluster: Any,
    options: Mapping[str, Any],
    seed: int,
    kills: int = 3,
    between: tuple[float, float] = (10.0, 25.0),
) -> Survived:
    """Run a screen on a cluster of nodes that work, killing up to `kills` of its processes.

    The pauses before the kills are drawn from `between`, seconds. A killed driver is called again
    at once, and a killed node is replaced at once, as an autoscaler would in a minute.
    """
    draws = random.Random(seed)
    began = time.monotonic()
    call, calls, done = Call(options), 1, []
    for _ in range(kills):
        due = time.monotonic() + draws.uniform(*between)
        victim = draws.choice(VICTIMS)
        if not call.runs_until(due):
            break
        done.append(Kill(round(time.monotonic() - began, 1), victim, len(call.slices())))
        if victim == "driver":
            call.kill()
            call, calls = Call(options), calls + 1
        elif victim == "node":
            _replace_a_node(cluster, draws)
        else:
            _kill_a_worker(cluster, draws)
    call.wait()
    return Survived(done, calls, round(time.monotonic() - began, 1))


def _replace_a_node(cluster: Any, draws: random.Random) -> None:
    """SIGKILL all of a node that works, and add another."""
    cluster.remove_node(draws.choice(sorted(cluster.worker_nodes, key=id)), allow_graceful=False)
    cluster.add_node(num_cpus=CPUS_A_NODE, object_store_memory=100_000_000)


def _kill_a_worker(cluster: Any, draws: random.Random) -> None:
    """SIGKILL a process that computes slices; between two calls there is none."""
    nodes = [node.all_processes["raylet"][0].process.pid for node in cluster.worker_nodes]
    workers = [worker for node in nodes for worker in workers_below(node)]
    if workers:
        victim: psutil.Process = draws.choice(sorted(workers, key=lambda worker: worker.pid))
        victim.kill()
