"""Nodes over time while a submitted screen runs on a cluster that grows and shrinks.

    python -m benchmarks.scaling.autoscaling [--rows 600000] [--nodes 4]

A cluster of a head without CPUs (`fake_cluster.py`) gets `jobs/screen.py` by `ray job submit`, with `--workers` and
then without; the nodes that are alive and the slices that are done are counted every half second until the last
node is gone. Writes `benchmarks/results/autoscaling.json` and draws `docs/images/autoscaling.png`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from benchmarks.common.drawing import ACCENT, OURS, STYLE, plt, save
from benchmarks.scaling.fake_cluster import BIN, IDLE_MINUTES, ROOT, fake_cluster, worker_nodes
from emrl_ray.io.paths import list_files, read_json, resolve
from emrl_ray.io.runtime import hardware_info, package_versions

RESULTS = Path(__file__).parents[1] / "results" / "autoscaling.json"
FIGURE = ROOT / "docs" / "images" / "autoscaling.png"
SECONDS_BETWEEN_SAMPLES = 0.5


class Sample(NamedTuple):
    """What was seen at a moment."""

    seconds: float
    """Since the job was submitted."""
    nodes: int
    """Alive, without the head."""
    slices: int
    """Predictions that are committed."""


class Watched(NamedTuple):
    """A screen that ran as a job, watched until the last node was gone."""

    samples: list[Sample]
    job_seconds: float
    exit_code: int
    output: str


def watch_screen(address: str, options: dict[str, Any], folder: Path, timeout: float) -> Watched:
    """Submit `jobs/screen.py` with `options`; sample until it has ended and all nodes are gone.

    Raises TimeoutError after `timeout` seconds.
    """
    slices = resolve(options["out"]) / "predictions"
    with _submitted(address, options, folder) as (job, log):
        began = time.monotonic()
        samples, ended = [], None
        while ended is None or samples[-1].nodes:
            now = time.monotonic() - began
            if now > timeout:
                raise TimeoutError(f"{samples[-1]} after {timeout} s\n{log()}")
            done = len(list_files(slices, ".parquet"))
            samples.append(Sample(round(now, 2), worker_nodes(address), done))
            if ended is None and job.poll() is not None:
                ended = now
            time.sleep(SECONDS_BETWEEN_SAMPLES)
        return Watched(samples, ended, job.returncode, log())


@contextmanager
def _submitted(
    address: str, options: dict[str, Any], folder: Path
) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]:
    config, log = folder / "screen.yaml", folder / "job.log"
    config.write_text(yaml.safe_dump(options))
    with log.open("wb") as stream:
        job = subprocess.Popen(
            [
                *(BIN / "ray", "job", "submit", "--address", address, "--"),
                *("python", ROOT / "jobs" / "screen.py", "--config", config),
            ],
            env={**os.environ, "RAY_AUTH_MODE": "disabled"},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        try:
            yield job, log.read_text
        finally:
            if job.poll() is None:
                job.kill()
            job.wait()


def draw(results: dict[str, Any], file: Path) -> None:
    """Draw nodes and committed slices against time, a colour a run."""
    with plt.rc_context(STYLE):
        figure, (upper, lower) = plt.subplots(
            2, 1, figsize=(6.5, 4), sharex=True, height_ratios=(2, 1), layout="constrained"
        )
        for (name, run), color in zip(results["runs"].items(), (OURS[0], ACCENT), strict=True):
            samples = [Sample(*row) for row in run["samples"]]
            seconds = [sample.seconds for sample in samples]
            nodes = [sample.nodes for sample in samples]
            upper.step(seconds, nodes, where="post", color=color, label=name)
            slices = [sample.slices for sample in samples]
            lower.step(seconds, slices, where="post", color=color)
            for axes in (upper, lower):
                axes.axvline(run["job_seconds"], color=color, linewidth=1, linestyle=":")
        upper.set(ylabel="nodes beside the head", ylim=(0, results["most_nodes"] + 0.5))
        upper.yaxis.get_major_locator().set_params(integer=True)
        upper.legend(title="dotted: the job ends", frameon=False)
        lower.set(xlabel="s since ray job submit", ylabel="slices done", ylim=(0, None))
        save(figure, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=600_000)
    parser.add_argument("--nodes", type=int, default=4)
    words = parser.parse_args()
    runs = {f"--workers {words.nodes}": {"workers": words.nodes}, "without --workers": {}}
    results: dict[str, Any] = {
        "machine": hardware_info(),
        "versions": package_versions(),
        "most_nodes": words.nodes,
        "cpus_per_node": 1,
        "idle_seconds": IDLE_MINUTES * 60,
        "rows": words.rows,
        "runs": {},
    }
    with tempfile.TemporaryDirectory() as folder, fake_cluster(words.nodes) as address:
        common = small_screen(Path(folder), words.rows)
        for number, (name, more) in enumerate(runs.items()):
            options = {**common, **more, "out": f"{folder}/run-{number}"}
            results["runs"][name] = _run(address, options, Path(folder))
    RESULTS.write_text(json.dumps(results) + "\n")
    draw(results, FIGURE)


def small_screen(folder: Path, rows: int) -> dict[str, Any]:
    """Make a small model and a library of random crystals; return options of a screen without `out`."""
    sys.path.insert(0, str(ROOT))  # the tests make the same
    from tests.support.models import make_model, random_crystals, write_library

    model = make_model(folder / "model")
    library = write_library(folder / "library", random_crystals(rows), [rows])
    return {"model": model, "crystals": library, "maximize": True, "top": 10}


def _run(address: str, options: dict[str, Any], folder: Path) -> dict[str, Any]:
    watched = watch_screen(address, options, folder, timeout=1200)
    if watched.exit_code:
        raise SystemExit(watched.output)
    print(f"nodes {_changes(watched.samples)}; the job took {watched.job_seconds:.0f} s")
    return {
        "counts": read_json(resolve(options["out"]) / "manifest.json")["counts"],
        "job_seconds": round(watched.job_seconds, 1),
        "samples": [list(sample) for sample in watched.samples],
    }


def _changes(samples: list[Sample]) -> str:
    """Return the node counts one after another, without repeats."""
    nodes = [sample.nodes for sample in samples]
    kept = [count for place, count in enumerate(nodes) if place == 0 or count != nodes[place - 1]]
    return " → ".join(map(str, kept))


if __name__ == "__main__":
    main()
