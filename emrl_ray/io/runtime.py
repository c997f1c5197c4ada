"""What a process runs on: its CPUs and threads, its memory, the packages it has and their versions."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module, metadata
from pathlib import Path

from emrl_ray.config.errors import MissingPackageError

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Read by libraries when they are loaded, so for those that are not loaded yet."""

PACKAGES = (
    *("emrl-ray", "numpy", "pyarrow", "numba"),
    *("xgboost", "xgboost-cpu", "torch", "ray"),
)
"""Those that can change a result or its speed."""

KEEP_FREED = ((-3, 32 << 20), (-1, (1 << 31) - 1), (-2, 256 << 20))
"""M_MMAP_THRESHOLD at its maximum, M_TRIM_THRESHOLD and M_TOP_PAD of malloc.h, bytes."""


def available_cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def need_extra(*modules: str, extra: str) -> None:
    """Raise ImportError, in one line that says what to install, unless `modules` can be imported."""
    for name in modules:
        package = name.partition(".")[0]
        try:
            import_module(name)
        except ImportError as error:
            absent = (error.name or "").partition(".")[0] == package
            why = "is not installed" if absent else f"cannot be imported ({error})"
            told = f"{package.replace('_', '-')} {why}: pip install 'emrl-ray[{extra}]'"
            raise MissingPackageError(told, name=package) from None


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Let BLAS, OpenMP and Arrow each use at most `threads` threads within the context.

    Each of them would otherwise start a thread for every CPU of the machine, in every process.
    """
    import pyarrow as pa
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    variables = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    arrow_threads = pa.cpu_count()
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    pa.set_cpu_count(threads)
    try:
        with threadpool_limits(limits=threads):
            yield
    finally:
        pa.set_cpu_count(arrow_threads)
        for name, value in variables.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, for its next use (glibc; nothing elsewhere).

    A training step frees and takes tens of MB. glibc hands large blocks back to the system at once, which
    gives them out again page by page: a fifth of the time of a step on HOIP and more.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        for parameter, value in KEEP_FREED:
            mallopt(parameter, value)


def give_back_freed_memory() -> None:
    """Hand back to the system what this process has freed, after a stage that took more than the next.

    glibc returns what lies at the end of its heap, Arrow nothing for a while: after reading graphs of 233 MiB a
    process held 607 MiB, then 237.
    """
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:
        trim(0)


def peak_memory() -> int:
    """Return the largest resident memory of this process so far, bytes."""
    if sys.platform == "linux":  # ru_maxrss would count the parent that a process was forked from
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that matter to a result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware_info() -> dict[str, object]:
    """Return what a timing needs beside it: processor, CPUs, system."""
    return {
        "processor": _processor(),
        "cpus": available_cpus(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
