"""A cluster that grows and shrinks on one machine: Ray's own autoscaler, its nodes processes here.

The provider is the one that Ray tests its autoscaler with: what it is asked to launch is a raylet on this
machine, with as many CPUs as it is told. All else is real: head, job server, autoscaler, nodes.

These nodes share one folder for what a job brings along, and each that comes up unpacks a job's working directory
there anew, under the feet of the others: so a job brings none, and the nodes know the package by their path.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider"
EMPTY = (
    *("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands"),
    *("head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files"),
)
"""What a provider of its own has to name, though nothing is set up."""
IDLE_MINUTES = 0.1
"""After which a node without work is given back."""


@contextmanager
def fake_cluster(most_nodes: int, start_timeout: float = 120) -> Iterator[str]:
    """Context: a head without CPUs and up to `most_nodes` nodes of one CPU; yields the jobs API's address."""
    (gcs,) = _free_ports(1)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
        config.write(yaml.safe_dump(_autoscaling(most_nodes, gcs)))
        config.flush()
        words = [f"--autoscaling-config={config.name}"]
        with own_head(0, words, _of_the_provider(), port=gcs, timeout=start_timeout) as address:
            yield address


@contextmanager
def own_head(
    cpus: int,
    words: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
    *,
    port: int | None = None,
    timeout: float = 120,
) -> Iterator[str]:
    """Context: a head apart from any other Ray on the machine; yields the jobs API's address.

    `words` come after those of `ray start`, `variables` on top of the environment.
    """
    gcs, dashboard, agent, client = _free_ports(4)
    kept = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    path = {"RAY_AUTH_MODE": "disabled", "PATH": f"{BIN}:{os.environ['PATH']}"}
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [
                *(BIN / "ray", "start", "--head", "--block", f"--num-cpus={cpus}"),
                *(f"--port={port or gcs}", f"--dashboard-port={dashboard}"),
                *(f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}"),
                *("--min-worker-port=0", "--max-worker-port=0", "--disable-usage-stats"),
                *("--object-store-memory=100000000", f"--temp-dir={folder}", *words),
            ],
            env={**kept, **path, **(variables or {})},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield _answering(f"http://127.0.0.1:{dashboard}", process, timeout)
        finally:
            _stop(process)


def worker_nodes(address: str) -> int:
    """Return how many nodes beside the head are alive now."""
    from ray.util.state import list_nodes

    nodes = list_nodes(address=address, raise_on_missing_output=False)
    return sum(node.state == "ALIVE" and not node.is_head_node for node in nodes)


def _free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _answering(address: str, process: subprocess.Popen[bytes], timeout: float) -> str:
    """Wait until the jobs API of a head answers, and return its address."""
    from ray.job_submission import JobSubmissionClient

    end = time.monotonic() + timeout
    while True:
        if process.poll() is not None:
            raise RuntimeError("the head did not start")
        try:
            JobSubmissionClient(address).list_jobs()
        except (ConnectionError, RuntimeError):
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
        else:
            return address


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Kill a head and what it started, and nothing else."""
    started = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    for each in started:  # those that made a group of their own
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait(timeout=15)


def _autoscaling(most_nodes: int, gcs: int) -> dict[str, Any]:
    from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID
    from ray.util import get_node_ip_address

    return {
        "cluster_name": "fake",
        "max_workers": most_nodes,
        "upscaling_speed": most_nodes,
        "idle_timeout_minutes": IDLE_MINUTES,
        **{key: [] for key in EMPTY},
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "provider": {
            "type": "external",
            "module": f"{PROVIDER}.FakeMultiNodeProvider",
            "launch_multiple": True,
            "head_node_id": FAKE_HEAD_NODE_ID,
            "gcs_address": f"{get_node_ip_address()}:{gcs}",
        },
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {
                "resources": {"CPU": 1, "object_store_memory": 100_000_000},
                "node_config": {},
                "min_workers": 0,
                "max_workers": most_nodes,
            },
        },
    }


def _of_the_provider() -> dict[str, str]:
    """Return the variables that the provider and its nodes need."""
    from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

    return {
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
        "PYTHONPATH": str(ROOT),
    }
