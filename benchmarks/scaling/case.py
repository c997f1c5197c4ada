"""One case of `run.py`, in a process of its own: writes FOLDER/figures.json.

python -m benchmarks.scaling.case CPUS SLICES SECONDS ROWS FOLDER
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import psutil
import ray

from benchmarks.scaling.waiting import Wait, WaitingWorker
from emrl_ray.distributed.partition_runner import PartitionReport, run_partitions_on_ray
from emrl_ray.io.runtime import peak_memory
from emrl_ray.runs.partitioned_output import PartitionedOutput

FIGURES = "figures.json"


class Moment(NamedTuple):
    """When a slice was reported, and how much CPU time had passed by then."""

    time: float
    report: PartitionReport
    driver: float
    """CPU seconds of this process."""
    machine: float
    """CPU seconds of all processes."""


def main() -> None:
    """Run the case."""
    cpus, slices = int(sys.argv[1]), int(sys.argv[2])
    seconds, rows, folder = float(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
    began = time.monotonic()
    ray.init(
        address="local",
        num_cpus=cpus,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=400_000_000,
    )
    found: dict[str, Any] = {"cpus": cpus, "slices": slices, "seconds_a_slice": seconds}
    found["ray_init"] = round(time.monotonic() - began, 2)
    output = PartitionedOutput(f"{folder}/rows", f"{folder}/rejects")
    partitions = [Wait(f"slice-{number:06d}", rows, seconds) for number in range(slices)]
    moments: list[Moment] = []
    began = time.monotonic()
    run_partitions_on_ray(
        partitions,
        output,
        WaitingWorker,
        (output,),
        observe=lambda report: moments.append(
            Moment(time.monotonic(), report, time.process_time(), _machine_seconds())
        ),
    )
    found |= {"wall": round(time.monotonic() - began, 2), **figures(moments, cpus, seconds)}
    found["driver_peak_bytes"] = peak_memory()
    Path(folder, FIGURES).write_text(json.dumps(found))


def figures(moments: list[Moment], cpus: int, seconds: float) -> dict[str, Any]:
    """Return what of the wall is start, and the pace while all workers were at work.

    That is from the moment at which the last worker began its first slice until two slices' time before
    the last report, when the first workers find nothing more to do.
    """
    first: dict[str, float] = {}
    for moment in moments:
        first.setdefault(moment.report.worker, moment.time - moment.report.seconds)
    all_up = max(first.values())
    inside = [m for m in moments if all_up + seconds < m.time < moments[-1].time - 2 * seconds]
    found = {
        "workers": len(first),
        "start_of_workers": round(all_up - min(first.values()), 2),
        "longest_slice": round(max(moment.report.seconds for moment in moments), 3),
    }
    if len(inside) < 2 * cpus:
        return found
    window = inside[-1].time - inside[0].time
    done = len(inside) - 1
    return found | {
        "window": round(window, 2),
        "slices_in_window": done,
        "efficiency": round(pace(inside) * seconds, 4),
        "driver_ms_a_slice": round((inside[-1].driver - inside[0].driver) / done * 1e3, 2),
        "machine_ms_a_slice": round((inside[-1].machine - inside[0].machine) / done * 1e3, 2),
        "machine_busy": round(
            (inside[-1].machine - inside[0].machine) / window / (psutil.cpu_count() or 1), 3
        ),
    }


def pace(moments: Sequence[Moment]) -> float:
    """Return the slices a second of a worker, the mean over the workers, each from its first report to its last.

    Workers report in bursts, so slices over seconds of all together would depend on where the window ends.
    """
    times = defaultdict(list)
    for moment in moments:
        times[moment.report.worker].append(moment.time)
    return fmean((len(each) - 1) / (each[-1] - each[0]) for each in times.values() if len(each) > 1)


def _machine_seconds() -> float:
    times = psutil.cpu_times()
    return times.user + times.system + times.nice


if __name__ == "__main__":
    main()
