"""Write the tables of docs/scaling.md.

python -m benchmarks.scaling.page

Reads `benchmarks/results/scaling.json` and `big_screen.json`; prices are those of `cloud_cost.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.common.arguments import RESULTS
from benchmarks.common.pages import DOCS, markdown_table, put_between
from benchmarks.scaling.cloud_cost import Prices, bill

PAGE = DOCS / "scaling.md"
LARGE = 10**8
NODES = (1, 4, 20, 100)
SERIES = {
    "weak": "weak: {slices} slices of {seconds_a_slice:g} s",
    "strong": "strong: {slices} slices of {seconds_a_slice:g} s",
    "rows": "rows: {slices} slices of {seconds_a_slice:g} s",
    "short": "short: {slices} slices of {seconds_a_slice:g} s",
}


def main() -> None:
    """Write all tables."""
    found = {
        name: json.loads((RESULTS / f"{name}.json").read_text())
        for name in ("scaling", "big_screen")
    }
    page = PAGE.read_text()
    for name, text in (
        ("handing-out", handing_out(found["scaling"])),
        ("share", share(found["big_screen"]["share"])),
        ("memory", memory(found["big_screen"]["memory"])),
        ("resume", resume(found["big_screen"]["resume"])),
        ("large", large(found["scaling"], found["big_screen"])),
    ):
        page = put_between(page, name, text)
    PAGE.write_text(page)


def handing_out(found: Mapping[str, Any]) -> str:
    """Return the table of the cases of `run.py`."""
    head = ["series", "logical CPUs", "ideal, s", "wall, s", "start of workers, s"]
    head += ["efficiency", "driver, ms a slice", "machine, ms a slice", "cores busy", "driver, MiB"]
    rows = []
    for series, words in SERIES.items():
        for case in found.get(series, ()):
            ideal = case["slices"] * case["seconds_a_slice"] / case["cpus"]
            at_work = "efficiency" in case
            rows.append(
                [
                    words.format(**case),
                    str(case["cpus"]),
                    f"{ideal:.1f}",
                    f"{case['wall']:.1f}",
                    f"{case['start_of_workers']:.1f}",
                    f"{case['efficiency']:.1%}" if at_work else "",
                    f"{case['driver_ms_a_slice']:.1f}" if at_work else "",
                    f"{case['machine_ms_a_slice']:.1f}" if at_work else "",
                    f"{case['machine_busy']:.0%}" if at_work else "",
                    f"{case['driver_peak_bytes'] / 2**20:.0f}",
                ]
            )
    return markdown_table(head, rows)


def share(found: Mapping[str, Any]) -> str:
    """Return the table of a screen with Ray and without."""
    names = {
        "prepare": "prepare: model, fingerprints, slices",
        "start": "start of Ray",
        "predict": "predict, with the start of the workers",
        "predict_without_ray": "the same in plain processes, with their start",
        "rank": "rank",
        "wall": "all, with the start of Python and the report",
    }
    rows = [
        [words, f"{found['median'][name]:.1f}", _span([each[name] for each in found["rounds"]])]
        for name, words in names.items()
    ]
    told = (
        f"{found['rows']:,} rows in {found['slices']} slices; Ray's share of all but its start: "
        f"{found['share_of_all_but_start']:.1%}, of predicting: {found['share_of_predict']:.1%}."
    )
    return f"{markdown_table(['stage', 's', 'rounds'], rows)}\n\n{told}"


def _span(values: list[float]) -> str:
    return f"{min(values):.1f} to {max(values):.1f}"


def memory(found: list[Mapping[str, Any]]) -> str:
    """Return the table of the driver's memory."""
    head = ["rows", "driver, MiB", "largest worker, MiB", "predict, s", "rank, s", "all, s"]
    rows = [
        [
            f"{case['rows']:,}",
            str(case["driver_mib"]),
            str(case["largest_worker_mib"]),
            *(f"{case['seconds'][stage]:.1f}" for stage in ("predict", "rank")),
            f"{case['wall']:.1f}",
        ]
        for case in found
    ]
    return markdown_table(head, rows)


def resume(found: list[Mapping[str, Any]]) -> str:
    """Return the table of resumed runs."""
    head = ["rows", "slices", "there at the kill", "whole run, s", "the rest, s", "ratio"]
    head += ["of predicting alone", "same files"]
    rows = [
        [
            f"{case['rows']:,}",
            str(case["slices"]),
            str(case["slices_there"]),
            f"{case['whole']:.1f}",
            f"{case['rest']:.1f}",
            f"{case['ratio']:.0%}",
            f"{case['rest_predict'] / case['whole_predict']:.0%}",
            "yes" if case["same_files"] else "no",
        ]
        for case in found
    ]
    return markdown_table(head, rows)


def large(scaling: Mapping[str, Any], screens: Mapping[str, Any]) -> str:
    """Return the arithmetic of `LARGE` crystals."""
    prices = Prices()
    core = per_crystal(screens)
    serial = after_slices(screens["memory"])
    driver = max(case["driver_ms_a_slice"] for case in scaling["weak"]) / 1e3
    rows = screens["share"]["rows"] / screens["share"]["slices"]
    told = (
        f"c = {core * 1e6:.0f} µs of one core a crystal, r = {serial * 1e6:.1f} µs of the driver a "
        f"crystal, d = {driver * 1e3:.1f} ms of the driver a slice of {rows:,.0f} crystals, which "
        f"takes {rows * core:.2f} s of a core and {rows * core * prices.vcpus_per_core:.2f} s of a vCPU."
    )
    head = ["nodes", "vCPUs", "slices a second", "driver busy", "work, s", "ranking, s"]
    head += ["all, hours", "USD"]
    lines = []
    for nodes in NODES:
        busy = LARGE / rows * driver / bill(LARGE, nodes, core, prices).work
        cost = bill(LARGE, nodes, core * max(1.0, busy), prices)  # nodes wait for the driver
        seconds = prices.start + cost.work + LARGE * serial
        lines.append(
            [
                str(nodes),
                str(nodes * prices.vcpus_per_node),
                f"{LARGE / rows / cost.work:.0f}",
                f"{min(1.0, busy):.0%}",
                f"{cost.work:,.0f}",
                f"{LARGE * serial:,.0f}",
                f"{seconds / 3600:.2f}",
                f"{cost.total:.2f}",
            ]
        )
    return f"{told}\n\n{markdown_table(head, lines)}"


def per_crystal(found: Mapping[str, Any]) -> float:
    """Return the seconds of a core that predicting a crystal takes, with Ray around it."""
    return found["share"]["median"]["predict"] * found["machine"]["cpus"] / found["share"]["rows"]


def after_slices(found: list[Mapping[str, Any]]) -> float:
    """Return the seconds that a further crystal takes when all slices are there: ranking and report."""
    small, big = found[-2], found[-1]
    rest = [
        case["wall"] - case["seconds"]["predict"] - case["seconds"]["start"]
        for case in (small, big)
    ]
    return (rest[1] - rest[0]) / (big["rows"] - small["rows"])


if __name__ == "__main__":
    main()
