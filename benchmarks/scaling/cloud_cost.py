"""What a screen costs in a cloud, from what it took here and assumed prices: the table of docs/cluster.md.

    python -m benchmarks.scaling.cloud_cost

Reads `benchmarks/results/trust/cost.json`. The prices are assumptions: change `Prices` to yours.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.common.pages import DOCS, markdown_table, put_between
from emrl_ray.config import ScreenConfig

MEASURED = Path(__file__).parents[1] / "results" / "trust" / "cost.json"
PAGE = DOCS / "cluster.md"
LIBRARIES = ((10**6, 1), (10**7, 1), (10**8, 4), (10**8, 20))
"""Crystals, and nodes to screen them on."""


class Prices(NamedTuple):
    """What is assumed of the cloud; USD."""

    vcpus_per_node: int = 16
    vcpu_hour: float = 0.02
    """Of a spot node."""
    head_hour: float = 0.20
    vcpus_per_core: int = 2
    """A vCPU is a hyperthread; two of them are taken for one core of the machine that was measured."""
    start: float = 300.0
    """Seconds from the request for a node to its first slice."""
    idle: float = 300.0
    """Seconds that a node stays without work (`idle_timeout_minutes`)."""
    put: float = 0.005 / 1000
    """Of a request that writes or lists."""
    get: float = 0.0004 / 1000
    """Of a request that reads."""


class Requests(NamedTuple):
    """What a bucket is asked for a slice, counted at a local server."""

    rows: int = ScreenConfig.block_rows
    """Crystals of a slice, if those are small: at most `ATOMS_OF_A_SECOND` atoms make one."""
    puts: int = 5
    gets: int = 3


SLICE = Requests()


class Bill(NamedTuple):
    """Of one screen; seconds and USD."""

    work: float
    nodes: float
    head: float
    requests: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.nodes + self.head + self.requests


def core_seconds(measured: Path = MEASURED) -> float:
    """Return the seconds of one core that a crystal takes in a screen, from Parquet to the shortlist."""
    results = json.loads(measured.read_text())
    wall = median(results["screen"]["seconds"]["with trust"])
    return wall * results["machine"]["cpus"] / results["screen"]["counts"]["rows_in"]


def bill(
    crystals: int, nodes: int, seconds: float, prices: Prices, requests: Requests = SLICE
) -> Bill:
    """Return what `crystals` cost on so many nodes, at `seconds` of one core for each."""
    work = crystals * seconds * prices.vcpus_per_core / (nodes * prices.vcpus_per_node)
    hours = (prices.start + work + prices.idle) / 3600
    slices = crystals / requests.rows
    return Bill(
        work,
        nodes * prices.vcpus_per_node * prices.vcpu_hour * hours,
        prices.head_hour * hours,
        slices * (requests.puts * prices.put + requests.gets * prices.get),
    )


def table(seconds: float, prices: Prices) -> str:
    """Return the table of the page."""
    head = ["crystals", "nodes", "work, s", "nodes, USD", "head", "requests", "USD a million"]
    rows = []
    for crystals, nodes in LIBRARIES:
        found = bill(crystals, nodes, seconds, prices)
        rows.append(
            [
                f"{crystals:,}",
                str(nodes),
                f"{found.work:,.0f}",
                *(f"{part:.3f}" for part in found[1:]),
                f"{found.total / crystals * 1e6:.3f}",
            ]
        )
    return f"c = {seconds * 1e6:.0f} µs of one core a crystal.\n\n{markdown_table(head, rows)}"


if __name__ == "__main__":
    PAGE.write_text(put_between(PAGE.read_text(), "cost", table(core_seconds(), Prices())))
