"""Runs of the tests on one mutant: a copy of the tree, the related tests first, the kill confirmed."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import psutil  # type: ignore[import-untyped]
import pytest

from benchmarks.mutants.sites import Mutant, Source, scopes_of

SUITES = {
    "old": ("tests",),
    "test": (
        "tests/unit",
        "tests/properties",
        "tests/packaging",
        "tests/integration/test_journey.py",
    ),
    "all": (
        "tests/unit",
        "tests/properties",
        "tests/packaging",
        "tests/integration",
        "tests/faults",
    ),
}
LIMIT_SECONDS, GRACE_SECONDS, MAX_FALSE_ALARMS = 480, 20, 4


def apply(mutant: Mutant, tree: Path) -> Path:
    """Put a mutant into a tree and return the changed file; LookupError if its text is not there.

    A refactored tree may have moved the text: then another function or file of the room will do,
    if the text occurs there once.
    """
    package = tree / "emrl_ray"
    home = package / mutant.file.split("/")[1]
    others = sorted(home.rglob("*.py")) if home.is_dir() else []
    for path in [tree / mutant.file, *others, *sorted(package.rglob("*.py"))]:
        if not path.exists():
            continue
        text = path.read_text()
        scope = scopes_of(Source(text)).get(mutant.function, "")
        scope = scope if scope.count(mutant.before) == 1 else text
        if scope.count(mutant.before) == 1:
            changed = scope.replace(mutant.before, mutant.after)
            path.write_text(text.replace(scope, changed, 1))
            ast.parse(path.read_text())
            _drop_kernel_caches(path, tree)
            return path
    raise LookupError(f"{mutant.id}: {mutant.before!r} is not in {mutant.file}, nor once elsewhere")


def module(path: Path, tree: Path) -> str:
    """Return the dotted name of a module."""
    return ".".join(path.relative_to(tree).with_suffix("").parts).removesuffix(".__init__")


def _imports(path: Path) -> set[str]:
    """Return all modules and names that a file imports, dotted."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def _drop_kernel_caches(changed: Path, tree: Path) -> None:
    """Delete numba's caches if a kernel may hold the changed module: numba looks at one file only."""
    name = module(changed, tree)
    for path in (tree / "emrl_ray").rglob("*.py"):
        imported = _imports(path)
        if "numba" in imported and (path == changed or name in imported):
            for cache in (tree / "emrl_ray").rglob("*.nb[ic]"):
                cache.unlink()
            return


def ordered_tests(suite: str, changed: Path, tree: Path) -> list[str]:
    """Return the suite's test files, those related to the changed module first, quick ones first."""
    name = module(changed, tree)
    home = ".".join(name.split(".")[:2])
    files: set[Path] = set()
    for part in SUITES[suite]:
        files |= set((tree / part).rglob("test_*.py")) if (tree / part).is_dir() else {tree / part}

    def rank(path: Path) -> tuple[int, bool, float, int]:
        imported, text = _imports(path), path.read_text()
        same_room = any(f"{each}.".startswith(f"{home}.") for each in imported)
        group = 0 if name in imported else 1 if same_room else 2
        limits = [float(limit) for limit in re.findall(r"timeout\((\d+)\)", text)]
        starts = re.search(r"ray_session|\bcluster\b|subprocess|processes|outside", text)
        return group, starts is not None, max(limits, default=0.0), len(text)

    return [str(path.relative_to(tree)) for path in sorted(files, key=rank)]


def pytest_configure() -> None:
    """Let no property test fail for a slow machine, and draw the same examples each time."""
    hypothesis.settings.register_profile("mutants", deadline=None, derandomize=True)
    hypothesis.settings.load_profile("mutants")


@pytest.hookimpl(trylast=True)  # after conftest.py
def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Sort the tests of this process by their file's place in MUTANTS_ORDER (a hook of pytest)."""
    order = {
        name: place for place, name in enumerate(os.environ["MUTANTS_ORDER"].split(os.pathsep))
    }
    items.sort(key=lambda item: order.get(item.nodeid.split("::")[0], len(order)))


class Outcome(NamedTuple):
    """What pytest said within the limit."""

    failed: str | None
    """Id of the first test that failed."""
    timed_out: bool
    seconds: float


def run_tests(tree: Path, tests: Sequence[str], log: Path, options: Sequence[str] = ()) -> Outcome:
    """Run pytest in a tree until the first failure, with all that it starts ended afterwards."""
    here = str(Path(__file__).parents[2])
    paths = os.pathsep.join((str(tree), here))
    environment = {**os.environ, "PYTHONPATH": paths, "RAY_AUTH_MODE": "disabled"}
    environment |= {"MUTANTS_ORDER": os.pathsep.join(test.split("::")[0] for test in tests)}
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-p",
        "benchmarks.mutants.suites",
        "-p",
        "no:cacheprovider",
    ]
    words += options
    began = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*words, *tests], cwd=tree, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        timed_out = False
        try:
            process.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            timed_out = True
            _end(process)
    seconds = round(time.monotonic() - began, 1)
    text = log.read_text(errors="replace")
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+\.py\S*(?:\[.*?\])?)(?: - |$)", text, re.MULTILINE)
    if not failed and process.returncode not in (0, 5):  # conftest.py or pytest itself broke
        failed = [tests[0]]
    return Outcome(None if timed_out else failed[0] if failed else None, timed_out, seconds)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt pytest, so that its fixtures end what they started; then kill what is left."""
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)
    process.kill()
    process.wait()
    for child in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def try_mutant(mutant: Mutant, base: Path, suite: str, work: Path) -> dict[str, Any]:
    """Return what the suite makes of a mutant; `base` is an unmutated copy of the tree."""
    tree = work / "mutated"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(base, tree, symlinks=True)
    try:
        changed = apply(mutant, tree)
    except LookupError as error:
        return {"result": "not applied", "why": str(error)}
    tests = ordered_tests(suite, changed, tree)
    alarms: list[str] = []
    found: dict[str, Any] = {"file": str(changed.relative_to(tree)), "tests": len(tests)}
    while len(alarms) <= MAX_FALSE_ALARMS:
        log = work / f"{suite}-{mutant.id}-{len(alarms)}.log"
        log.unlink(missing_ok=True)
        outcome = run_tests(tree, tests, log, [f"--deselect={alarm}" for alarm in alarms])
        found |= {"seconds": outcome.seconds, "test": outcome.failed, "false_alarms": alarms}
        found["load"] = round(os.getloadavg()[0], 1)
        if outcome.failed is None:
            return found | {"result": "timeout" if outcome.timed_out else "survived"}
        alone = [_fails(folder, outcome.failed, work) for folder in (tree, base)]
        if alone == [True, False]:
            return found | {"result": "killed"}
        alarms.append(outcome.failed)
    return found | {"result": "unclear"}


def _fails(tree: Path, test: str, work: Path) -> bool:
    log = work / "alone.log"
    log.unlink(missing_ok=True)
    outcome = run_tests(tree, [test], log)
    return outcome.failed is not None or outcome.timed_out
