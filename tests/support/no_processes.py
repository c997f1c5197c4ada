"""A test of the quick tiers starts no process, and so no Ray and no server."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

SYSTEM = {"lscpu", "ldconfig"}
"""Commands that libraries ask about the machine when they are imported."""
REASON = "starts a process: a test of this tier must not, tests/integration may"
start = subprocess.Popen.__init__


def _start(process: subprocess.Popen[Any], command: Any, *rest: Any, **options: Any) -> None:
    program = command.split()[0] if isinstance(command, str) else command[0]
    if Path(program).name in SYSTEM:
        start(process, command, *rest, **options)
    else:
        pytest.fail(f"{REASON} ({program})")


@pytest.fixture(scope="module", autouse=True)
def no_processes() -> Iterator[None]:
    """Let the tests and fixtures of a module fail that start a process."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(subprocess.Popen, "__init__", _start)
        changed.setattr(BaseProcess, "start", lambda _: pytest.fail(REASON))
        yield
