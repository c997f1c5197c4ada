"""Fetch from the Materials Project through failing requests, kills and refusals of the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from email.utils import formatdate

import numpy as np
import pytest

from emrl_ray import cli
from emrl_ray.commands.fetch import fetch
from emrl_ray.config import FetchConfig, UserError
from emrl_ray.io.parquet import read_table
from tests.support.fetches import fetched, files, options, pages
from tests.support.paths import ROOT
from tests.support.servers.mp import KEY, MPServer, material
from tests.support.servers.web import one_in_twenty

pytest.importorskip("mp_api")
pytestmark = pytest.mark.usefixtures("mp_key")


def test_5000_materials_arrive_complete_through_5_percent_failing_requests(tmp_path, capsys):
    with MPServer(5000) as server:
        server.faults = one_in_twenty
        result = fetched(server, tmp_path / "out", all=True, block_rows=25, parallel=8)
        assert len(server.requests) >= 200 / 0.95
    assert result.counts == (5000, 5000, {})
    table = read_table(tmp_path / "out")
    expected = sorted(
        (material(number) for number in range(1, 5001)), key=lambda m: m["material_id"]
    )
    assert table.column("id").to_pylist() == [each["material_id"] for each in expected]
    assert table.column("band_gap").to_pylist() == [each["band_gap"] for each in expected]
    edges = np.array(table.column("lattice").to_pylist())[:, 0]
    assert edges.tolist() == [each["structure"]["lattice"]["matrix"][0][0] for each in expected]
    said = capsys.readouterr().out
    assert "fetch: 5,000 rows in = 5,000 rows out + 0 rejects" in said
    assert "requests repeated" in said


def test_a_fetch_killed_half_way_goes_on_and_ends_the_same(tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    with MPServer(400) as server:
        given = options(server, out, all=True, parallel=2, block_rows=20)
        server.held_from = 3 + 10  # two heartbeats, the count, half of the pages
        words = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
        run = subprocess.Popen(
            [sys.executable, "-m", "emrl_ray", "fetch", *words],
            cwd=ROOT,
            env={**os.environ, "MP_API_KEY": KEY},
            stdout=subprocess.DEVNULL,
        )
        until = time.monotonic() + 120
        while len(list(out.glob("slice-*.parquet"))) < 10 and time.monotonic() < until:
            time.sleep(0.02)
        run.send_signal(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
        kept = files(out)
        assert len(kept) == 10
        assert not (out / "_manifest.json").exists()
        server.released.set()
        server.held_from = None
        server.requests.clear()

        result = fetch(FetchConfig(**given))
        assert result.counts == (400, 400, {})
        assert len(pages(server)) == 10
        assert not set(pages(server)) & {int(name[6:12]) + 1 for name in kept}
        fetch(FetchConfig(**{**given, "out": str(other)}))
    assert files(out) == files(other)
    assert kept.items() <= files(out).items()
    assert not list(out.glob(".*"))


@pytest.mark.parametrize("fault", ["500", "503", "429", "cut", "dropped", "malformed", "short"])
def test_a_request_that_fails_once_is_repeated(mp_server, tmp_path, fault):
    mp_server.faults = lambda number, path: fault if "_page=2" in path and first(number) else None
    seen: set[int] = set()

    def first(number: int) -> bool:
        seen.add(number)
        return len(seen) == 1

    assert fetched(mp_server, tmp_path / "out", all=True).counts == (60, 60, {})
    assert pages(mp_server) == [1, 2, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_server_is_not_asked_before_the_time_it_names(mp_server, tmp_path, form):
    mp_server.retry_after = "1" if form == "seconds" else formatdate(time.time() + 2, usegmt=True)
    mp_server.faults = lambda number, _: "429 after" if number == 2 else None
    began = time.monotonic()
    fetched(mp_server, tmp_path / "out", all=True)
    assert time.monotonic() - began >= 0.9


def test_a_server_that_asks_to_wait_for_an_hour_is_left_alone(mp_server, tmp_path):
    mp_server.retry_after = "3600"
    mp_server.faults = lambda number, path: "429 after" if "_page" in path else None
    with pytest.raises(ConnectionError, match=r"asks to wait 3600 s; try again then; what came"):
        fetched(mp_server, tmp_path / "out", all=True, parallel=1)
    assert len(pages(mp_server)) == 1


def test_after_the_last_try_what_came_stays_and_the_same_command_goes_on(
    mp_server, tmp_path, capsys
):
    out = tmp_path / "out"
    mp_server.faults = lambda number, path: "500" if "_page=4&" in path else None
    words = [
        f"--{name.replace('_', '-')}={value}"
        for name, value in options(mp_server, out, all=True, attempts=3, parallel=1).items()
    ]
    assert cli.main(["fetch", *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        f"emrl-ray fetch: {mp_server.url}/materials/summary/: 500 Internal Server"
    )
    assert (
        f"after 3 tries; what came until then, 3 partitions, is in {out}, and the same command goes on"
        in said
    )
    assert said.count("\n") == 1
    assert pages(mp_server) == [1, 2, 3, 4, 4, 4]
    mp_server.faults = lambda number, path: None
    mp_server.requests.clear()
    assert cli.main(["fetch", *words]) == 0
    assert pages(mp_server) == [4, 5, 6]
    mp_server.requests.clear()
    assert cli.main(["fetch", *words]) == 0
    assert "is finished, nothing to do" in capsys.readouterr().out
    assert mp_server.requests == []


def test_a_database_that_has_changed_is_not_mixed_with_what_it_was(mp_server, tmp_path):
    out = tmp_path / "out"
    mp_server.faults = lambda number, path: "500" if "_page=4" in path else None
    with pytest.raises(ConnectionError):
        fetched(mp_server, out, all=True, attempts=1)
    mp_server.version = "2026.01.01"
    with pytest.raises(UserError, match=r"version 2025\.09\.25 .*, which is now 2026\.01\.01: use"):
        fetched(mp_server, out, all=True)


def test_a_wrong_key_is_said_in_one_line(mp_server, tmp_path, monkeypatch):
    monkeypatch.setenv("MP_API_KEY", "f" * 32)
    with pytest.raises(
        PermissionError,
        match=r"401 Unauthorized: the server does not take the key.*; it says: Unauthorized$",
    ):
        fetched(mp_server, tmp_path / "out", all=True)
    assert not (tmp_path / "out").exists()
    assert len(mp_server.requests) <= 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"data": [{"material_id": "mp-1", "band_gap": float("inf")}]}, "JSONDecodeError"),
        ({"data": [], "meta": []}, "AttributeError"),
        ({"data": [], "meta": {"total_doc": -1}}, "of -1 materials"),
        ({"data": [], "meta": {"total_doc": 2.5}}, "of 2.5 materials"),
        ({"data": 5}, "TypeError"),
        ({"data": {"a": 1}, "meta": {"total_doc": None}}, "TypeError"),
    ],
)
@pytest.mark.parametrize("which", ["_limit=1", "_page=2"])
def test_an_answer_that_the_client_cannot_read_is_asked_for_again(
    mp_server, tmp_path, content, said, which
):
    whole, broken = mp_server.answer, [True]

    def answer(path, query, headers):
        found = whole(path, query, headers)
        asked = "&".join(f"{key}={value}" for key, value in query.items())
        return (200, content) if broken[0] and which in asked.split("&") else found

    mp_server.answer = answer
    with pytest.raises(ConnectionError, match=r"malformed|has 0 materials") as raised:
        fetched(mp_server, tmp_path / "out", all=True, attempts=2, parallel=1)
    assert "after 2 tries" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert which == "_page=2" or said in str(raised.value)
    assert not (tmp_path / "out" / "_manifest.json").exists()
    broken[0] = False
    assert fetched(mp_server, tmp_path / "out", all=True).counts == (60, 60, {})


def test_a_whole_number_that_float64_rounds_is_kept(mp_server, tmp_path):
    mp_server.materials[0]["band_gap"] = 2**60 + 1
    assert fetched(mp_server, tmp_path / "out", all=True).counts == (60, 60, {})
    table = read_table(tmp_path / "out")
    assert table.column("band_gap")[0].as_py() == float(2**60 + 1)


def test_a_server_that_is_not_there_is_said_in_one_line(tmp_path):
    with MPServer(1) as gone:
        pass
    with pytest.raises(ConnectionError, match=r"heartbeat: .*refused, after 2 tries$"):
        fetched(gone, tmp_path / "out", all=True, attempts=2)
