"""A test of the quick tiers starts no process, and so no Ray and no server."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn

import pytest

WITH_RAY = ("pipelines",)
"""Folders whose tests may still start one."""


def _refuse(*_: Any, **__: Any) -> NoReturn:
    pytest.fail("starts a process: a test of this tier must not, tests/integration may")


@pytest.fixture(scope="module", autouse=True)
def no_processes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the tests and fixtures of a module fail that start a process."""
    if request.path.parent.name in WITH_RAY:
        yield
        return
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(subprocess.Popen, "__init__", _refuse)
        changed.setattr(BaseProcess, "start", _refuse)
        yield
