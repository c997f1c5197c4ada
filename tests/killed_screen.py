"""A screen in a process of its own, with a Ray of its own, that is killed half-way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

DRIVER = """
import json, sys
import ray
from emrl_ray.config import ScreenConfig
from emrl_ray.pipelines.screen import screen
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
         object_store_memory=200_000_000)
screen(ScreenConfig(**json.loads(sys.argv[1])))
"""


def kill_once(
    half_way: Callable[[], bool], options: Mapping[str, Any], wait: float = 0.005
) -> None:
    """Run a screen in a process of its own and SIGKILL it, and what it started, once `half_way()`.

    `half_way` is asked every `wait` seconds.
    """
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, json.dumps(dict(options))],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "RAY_AUTH_MODE": "disabled"},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    started = psutil.Process(driver.pid)
    try:
        deadline = time.monotonic() + 120
        while not half_way():
            assert driver.poll() is None, "the driver ended by itself"
            assert time.monotonic() < deadline, "no slices appeared"
            time.sleep(wait)
    finally:
        children = started.children(recursive=True)
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=30)
