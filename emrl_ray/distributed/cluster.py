"""Joining a Ray cluster, or starting one on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Outcome = TypeVar("Outcome")
JOB_VARIABLES = ("RAY_ADDRESS", "RAY_JOB_CONFIG_JSON_ENV_VAR")
"""Set by Ray where a driver already belongs to a cluster, as in a submitted job."""


def in_job() -> bool:
    """Return whether this process is the driver of a submitted job."""
    return any(name in os.environ for name in JOB_VARIABLES)


def connect(address: str | None = None) -> None:
    """Join the cluster at `address`, else that of the job we run in, else start a local one.

    A process that is connected already stays where it is. A local cluster serves this process alone,
    so it needs no token: authentication is switched off for it unless `RAY_AUTH_MODE` says otherwise.
    """
    import ray
    import ray.data  # sets the levels of its loggers as it is imported

    if ray.is_initialized():
        return
    logging.getLogger("ray").setLevel(logging.WARNING)
    if address is None and in_job():
        address = "auto"
    if address is None:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # errors arrive as exceptions
        ray.init(address="local", include_dashboard=False, log_to_driver=False)
    else:
        ray.init(address=address)
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)  # our lines show it


def offered() -> Mapping[str, float]:
    """Return the resources of the cluster by name, such as CPU and GPU."""
    import ray

    return ray.cluster_resources()


def call_in_task(work: Callable[[], Outcome], cpus: int) -> Outcome:
    """Return what `work` returns, called in a task on the cluster."""
    import ray

    task: Any = ray.remote(num_cpus=cpus)(_call)
    return ray.get(task.remote(work))


def _call(work: Callable[[], Outcome]) -> Outcome:
    return work()
