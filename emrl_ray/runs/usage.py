"""What a call of a long verb took: seconds a stage, throughput, peak memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from emrl_ray.io.runtime import peak_memory
from emrl_ray.runs.local_runner import PartitionReport


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Note in `seconds`, by the name of the stage, how long what is within the context takes."""
    began = time.monotonic()
    yield
    seconds[stage] = round(time.monotonic() - began, 3)


class ResourceUsage:
    """Gathers what a call takes; `observe` is what `engine.run_partitions` asks for."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.partitions = 0
        self.crystals = 0
        self.worker_seconds = 0.0
        self.workers: dict[str, int] = {}
        """Largest resident memory of each worker, bytes."""

    def timed(self, stage: str) -> AbstractContextManager[None]:
        """Context: the seconds that pass within it are those of `stage`."""
        return timed(self.seconds, stage)

    def observe(self, report: PartitionReport) -> None:
        """Note what a partition took."""
        self.partitions += 1
        self.crystals += report.counts.rows_in
        self.worker_seconds += report.seconds
        self.workers[report.worker] = report.peak_memory

    def throughput(self, stage: str) -> dict[str, Any]:
        """Return how many crystals were done in `stage`, and how fast, for a manifest."""
        return {
            "crystals": self.crystals,
            "crystals_per_second": _rate(self.crystals, self.seconds[stage]),
            "crystals_per_worker_second": _rate(self.crystals, self.worker_seconds),
            "workers": len(self.workers),
        }

    def peak_memory_bytes(self) -> dict[str, int]:
        """Return the largest resident memory of the driver and of any worker."""
        largest = max(self.workers.values(), default=0)
        return {"driver": peak_memory(), "largest_worker": largest}


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 1) if seconds > 0 else 0.0
