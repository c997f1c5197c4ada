"""Fetching from the tests' own servers, and what it leaves."""

from __future__ import annotations

from pathlib import Path

from emrl_ray.commands.fetch import fetch
from emrl_ray.config import FetchConfig
from emrl_ray.io.parquet import read_table
from tests.support.servers.mp import MPServer


def options(server: MPServer, out: Path, **more):
    return {"out": str(out), "endpoint": server.url, "patience": 0.01, "block_rows": 10, **more}


def fetched(server: MPServer, out: Path, **more):
    return fetch(FetchConfig(**options(server, out, **more)))


def rejects(out: Path) -> dict[str, tuple[str, str]]:
    rows = read_table(out / "_rejects").to_pylist()
    return {row["id"]: (row["stage"], row["reason"]) for row in rows}


def files(out: Path) -> dict[str, bytes]:
    """Return the content of every file of rows and rejects."""
    return {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*.parquet")}


def pages(server: MPServer) -> list[int]:
    return sorted(int(number) for number in server.asked("_page"))
