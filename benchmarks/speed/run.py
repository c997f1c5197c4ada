"""Times every stage and the whole path against the published way and other packages.

    EMRL_RAY_DATA=DATA python -m benchmarks.speed.run

First on one core, then on all of them, each in a process of its own that is pinned to them; the
model is trained on the spot unless one is given. Results go to benchmarks/results/speed.json as they
come; `--quick` has fewer rounds and crystals, and the results say so.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common.arguments import RESULTS
from benchmarks.common.samples import CUTOFF, data_folder, hoip, trained_model
from benchmarks.common.timing import Results, run_pinned
from benchmarks.speed.start_up import start_up
from emrl_ray.model import read_card

COMPARED = ("torch-geometric", "pymatgen", "gemmi")
EARLIER = {
    "published: CIF → structure": 3381,
    "JSON → structure": 442,
    "published: neighbours": 5318,
    "published: pair features": 5369,
    "published: embedding": 3813,
    "published: head": 13,
    "published": 17537,
    "dense three passes": 25634,
}
"""Microseconds a crystal of the published way on HOIP, measured with other code than this on one core
of another machine (AMD EPYC, Zen 4): stage against stage, ours must come out alike."""


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="model folder (default: one is trained on HOIP)")
    parser.add_argument("--out", type=Path, default=RESULTS / "speed.json")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="few rounds on few crystals")
    parser.add_argument("--no-peers", action="store_true", help="leave other packages out")
    words = parser.parse_args()
    data_folder()
    results = Results.begin(words.out, words.quick, COMPARED)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        _run(words, results, Path(scratch))
    results = Results(words.out)
    results.put(["seconds"], round(time.perf_counter() - began, 1))
    results.put(["complete"], True)


def _run(words: argparse.Namespace, results: Results, scratch: Path) -> None:
    rounds = 3 if words.quick else words.rounds
    model = words.model or trained_model(scratch)
    card = read_card(model)
    if card.cutoff != CUTOFF:
        sys.exit(f"--model {model}: its cutoff is {card.cutoff} Å, the published way's {CUTOFF} Å")
    results.put(
        ["model"], {"given": words.model is not None, "cutoff": card.cutoff, "heads": card.heads}
    )
    cpus = sorted(os.sched_getaffinity(0))
    for label, chosen in (("one core", cpus[-1:]), ("all cores", cpus)):
        options = ["--label", label, "--rounds", str(rounds)]
        options += ["--quick"] if words.quick else []
        options += ["--no-peers"] if words.no_peers else []
        run_pinned("benchmarks.speed.stages", [str(words.out), model, *options], chosen)
        results = Results(words.out)
    sample = hoip(scratch, 1)
    results.put(["start_up"], start_up(model, sample.cifs, sample.parquet, scratch, min(rounds, 5)))
    results.put(["published_against_earlier"], against_earlier(results.content["one core"]["hoip"]))


def against_earlier(hoip_timings: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the published way's stages, each over what was measured earlier elsewhere.

    `relative` divides the quotients by their median, which is how this machine compares with that
    one: within 0.7 to 1.3 the stages are in the same proportion.
    """
    measured = {
        name: timing["us_per_crystal"]
        for timings in hoip_timings.values()
        for name, timing in timings.items()
        if isinstance(timing, dict)
    }
    quotients = {name: measured[name] / earlier for name, earlier in EARLIER.items()}
    middle = statistics.median(quotients.values())
    return {
        name: {
            "us_per_crystal": measured[name],
            "earlier": EARLIER[name],
            "quotient": round(quotient, 3),
            "relative": round(quotient / middle, 3),
        }
        for name, quotient in quotients.items()
    }


if __name__ == "__main__":
    main()
