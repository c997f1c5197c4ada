"""Clusters of several nodes on this machine, for tests that take nodes and workers away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil

from tests.support.processes import PATIENCE


@contextmanager
def cluster_of(*cpus: int) -> Iterator[Any]:
    """Context: a cluster of a head without work and a node with each of these numbers of CPUs."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        for each in cpus:
            add_node(cluster, each)
        yield cluster
    finally:
        cluster.shutdown()


def add_node(cluster: Any, cpus: int = 2) -> Any:
    """Add a node to a cluster and return it, once the cluster knows of it."""
    node = cluster.add_node(wait=False, num_cpus=cpus, object_store_memory=100_000_000)
    cluster.wait_for_nodes(timeout=PATIENCE)
    return node


def slice_workers(*nodes: Any) -> list[psutil.Process]:
    """Return the processes of nodes that compute partitions."""
    return [worker for node in nodes for worker in _workers(node, "MapWorker")]


def train_workers(*nodes: Any) -> list[psutil.Process]:
    """Return the training workers of nodes."""
    return [worker for node in nodes for worker in _workers(node, "RayTrainWorker")]


def _workers(node: Any, kind: str) -> list[psutil.Process]:
    """Return the workers of a kind that a node runs."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    found = []
    for process in raylet.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it may end meanwhile
            words = process.cmdline()
            if words and words[0].startswith("ray::") and kind in words[0]:
                found.append(process)
    return found
