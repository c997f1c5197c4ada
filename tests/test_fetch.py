"""Fetch from the Materials Project: the unmodified mp-api against a server of the tests' own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import emrl_ray
from emrl_ray import cli
from emrl_ray.config import ConfigError, FetchConfig
from emrl_ray.crystals.storage import read_json, read_table, table_schema
from emrl_ray.crystals.units import origin_of
from emrl_ray.fetching.fetch import fetch
from emrl_ray.fetching.id_files import read_ids
from tests.mp_server import KEY, MPServer, material
from tests.web_server import one_in_twenty

pytest.importorskip("mp_api")
ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key, and none in the settings of whoever runs the tests."""
    from pymatgen.core import SETTINGS

    monkeypatch.setenv("MP_API_KEY", KEY)
    monkeypatch.delitem(SETTINGS, "PMG_MAPI_KEY", raising=False)


@pytest.fixture
def server() -> Iterator[MPServer]:
    with MPServer(60) as running:
        yield running


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


def test_a_table_holds_the_properties_with_units_and_where_it_comes_from(server, tmp_path):
    out = tmp_path / "out"
    fields = [
        "band_gap",
        "formation_energy_per_atom",
        "bulk_modulus.vrh",
        "is_stable",
        "theoretical",
    ]
    server.materials[0]["band_gap"] = None
    fetched(server, out, all=True, fields=fields)
    schema = table_schema(out)
    theory = "GGA, GGA+U or r2SCAN (Materials Project)"
    assert origin_of(schema.field("band_gap")) == ("eV", theory)
    assert origin_of(schema.field("formation_energy_per_atom")) == ("eV/atom", theory)
    assert origin_of(schema.field("bulk_modulus_vrh")) == ("GPa", theory)
    row = read_table(out).slice(0, 1).to_pylist()[0]
    assert (row["id"], row["formula"], row["band_gap"]) == ("mp-1", "KLi", None)
    assert (row["bulk_modulus_vrh"], row["is_stable"], row["theoretical"]) == (1.0, False, None)
    origin = json.loads(schema.metadata[b"emrl_ray.origin"])
    assert origin == read_json_of(out)["origin"]
    assert origin["database_version"] == "2025.09.25"
    assert (origin["source"], origin["endpoint"]) == ("Materials Project", f"{server.url}/")
    assert set(server.asked("_fields")) == {
        "material_id",  # to count
        ",".join(["material_id", "structure", *fields]),
    }


def read_json_of(out: Path):
    from emrl_ray.crystals.storage import locate

    return read_json(locate(out) / "_manifest.json")


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"band_gap": "1:2.5"}, lambda m: 1 <= m["band_gap"] <= 2.5),
        ({"band_gap": ":1", "is_stable": True}, lambda m: m["band_gap"] <= 1 and m["is_stable"]),
        (
            {"formation_energy_per_atom": "-2:-1"},
            lambda m: -2 <= m["formation_energy_per_atom"] <= -1,
        ),
        (
            {"energy_above_hull": "0.03:", "nelements": "2"},
            lambda m: m["energy_above_hull"] >= 0.03,
        ),
        (
            {"num_sites": "1:2", "elements": ["Li", "O"]},
            lambda m: {"Li", "O"} <= set(m["elements"]),
        ),
        ({"exclude_elements": ["Li", "O"]}, lambda m: not {"Li", "O"} & set(m["elements"])),
        ({"chemsys": ["Li-O", "K-Li"]}, lambda m: m["chemsys"] in ("Li-O", "K-Li")),
    ],
)
def test_a_query_brings_what_it_asks_for(server, tmp_path, asked, wanted):
    fetched(server, tmp_path / "out", **asked)
    expected = {each["material_id"] for each in server.materials if wanted(each)}
    assert set(read_table(tmp_path / "out").column("id").to_pylist()) == expected
    assert 0 < len(expected) < 61


def test_ids_come_in_the_order_of_their_file_and_others_become_rejects(server, tmp_path):
    ids = tmp_path / "ids.csv"
    ids.write_text("formula,material_id\nx,mp-30\nx,mp-4\nx,mp-999\nx,mp-30\nx,banana\nx,mp-12\n")
    server.materials[3]["structure"]["sites"][0]["species"] = [
        {"element": "Li", "occu": 0.5},
        {"element": "Na", "occu": 0.5},
    ]  # of mp-12: sorted as text, mp-1, mp-10, mp-11, mp-12
    result = fetched(server, tmp_path / "out", ids=str(ids), block_rows=4)
    assert read_table(tmp_path / "out").column("id").to_pylist() == ["mp-30", "mp-4"]
    assert result.counts.rows_in == 6
    assert rejects(tmp_path / "out") == {
        "mp-999": ("read", "unknown_id"),
        "mp-30": ("read", "duplicate_id"),
        "banana": ("read", "unknown_id"),
        "mp-12": ("read", "disordered"),
    }
    assert sorted(server.asked("material_ids")) == ["mp-12", "mp-30,mp-4,mp-999"]


def test_files_of_ids(tmp_path):
    file = tmp_path / "ids"
    for text, column, expected in [
        ("mp-1\n\n# no\nmp-2 \n", None, ["mp-1", "mp-2"]),
        ("\ufeffid\nmp-1\n", None, ["mp-1"]),
        ("mp-1,0.5\nmp-2,1\n", None, ["mp-1", "mp-2"]),
        ("a,b\n1,mp-1\n2\n", "b", ["mp-1", ""]),
    ]:
        file.write_text(text)
        assert read_ids(str(file), column) == expected
    with pytest.raises(ValueError, match="no column 'c'"):
        read_ids(str(file), "c")
    for content in (b"", b"id\n", b"\xff\xfe"):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=f"^--ids {file}: no "):
            read_ids(str(file))
    with pytest.raises(FileNotFoundError, match=r"^--ids nowhere: no such file$"):
        read_ids("nowhere")


@pytest.mark.parametrize("fault", ["500", "503", "429", "cut", "dropped", "malformed", "short"])
def test_a_request_that_fails_once_is_repeated(server, tmp_path, fault):
    server.faults = lambda number, path: fault if "_page=2" in path and first(number) else None
    seen: set[int] = set()

    def first(number: int) -> bool:
        seen.add(number)
        return len(seen) == 1

    assert fetched(server, tmp_path / "out", all=True).counts == (60, 60, {})
    assert pages(server) == [1, 2, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_server_is_not_asked_before_the_time_it_names(server, tmp_path, form):
    server.retry_after = "1" if form == "seconds" else formatdate(time.time() + 2, usegmt=True)
    server.faults = lambda number, _: "429 after" if number == 2 else None
    began = time.monotonic()
    fetched(server, tmp_path / "out", all=True)
    assert time.monotonic() - began >= 0.9


def test_a_server_that_asks_to_wait_for_an_hour_is_left_alone(server, tmp_path):
    server.retry_after = "3600"
    server.faults = lambda number, path: "429 after" if "_page" in path else None
    with pytest.raises(ConnectionError, match=r"asks to wait 3600 s; try again then; what came"):
        fetched(server, tmp_path / "out", all=True, parallel=1)
    assert len(pages(server)) == 1


def test_after_the_last_try_what_came_stays_and_the_same_command_goes_on(server, tmp_path, capsys):
    out = tmp_path / "out"
    server.faults = lambda number, path: "500" if "_page=4&" in path else None
    words = [
        f"--{name.replace('_', '-')}={value}"
        for name, value in options(server, out, all=True, attempts=3, parallel=1).items()
    ]
    assert cli.main(["fetch", *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"emrl-ray fetch: {server.url}/materials/summary/: 500 Internal Server")
    assert (
        f"after 3 tries; what came until then, 3 slices, is in {out}, and the same command goes on"
        in said
    )
    assert said.count("\n") == 1
    assert pages(server) == [1, 2, 3, 4, 4, 4]
    server.faults = lambda number, path: None
    server.requests.clear()
    assert cli.main(["fetch", *words]) == 0
    assert pages(server) == [4, 5, 6]
    server.requests.clear()
    assert cli.main(["fetch", *words]) == 0
    assert "is finished, nothing to do" in capsys.readouterr().out
    assert server.requests == []


def test_another_query_on_the_same_folder_is_refused(server, tmp_path):
    out = tmp_path / "out"
    fetched(server, out, band_gap="0:1")
    with pytest.raises(ConfigError, match=r"--band-gap was '0:1', is '0:2'.*use --overwrite"):
        fetched(server, out, band_gap="0:2")
    fetched(server, out, band_gap="0:2", overwrite=True, parallel=2, attempts=2)
    assert max(read_table(out).column("band_gap").to_pylist()) == 2


def test_a_database_that_has_changed_is_not_mixed_with_what_it_was(server, tmp_path):
    out = tmp_path / "out"
    server.faults = lambda number, path: "500" if "_page=4" in path else None
    with pytest.raises(ConnectionError):
        fetched(server, out, all=True, attempts=1)
    server.version = "2026.01.01"
    with pytest.raises(
        ConfigError, match=r"version 2025\.09\.25 .*, which is now 2026\.01\.01: use"
    ):
        fetched(server, out, all=True)


def test_a_crystal_that_comes_twice_is_kept_once(server, tmp_path):
    server.materials[25] = server.materials[3]
    result = fetched(server, tmp_path / "out", all=True)
    assert result.counts == (60, 59, {"duplicate_id": 1})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"structure": None}, "unreadable"),
        ({"structure": {"lattice": {}, "sites": []}}, "no_atoms"),
        ({"band_gap": "wide"}, "unreadable"),
    ],
)
def test_a_material_that_is_no_crystal_is_a_reject(server, tmp_path, change, reason):
    server.materials[3] |= change
    fetched(server, tmp_path / "out", all=True)
    assert rejects(tmp_path / "out") == {"mp-12": ("read", reason)}


def test_a_wrong_key_is_said_in_one_line(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MP_API_KEY", "f" * 32)
    with pytest.raises(
        PermissionError, match=r"401 Unauthorized: the server does not take the key"
    ):
        fetched(server, tmp_path / "out", all=True)
    assert not (tmp_path / "out").exists()
    assert len(server.requests) <= 3


@pytest.mark.parametrize(("key", "said"), [("", "^no Materials"), ("short", "not one of 32 char")])
def test_without_a_key_one_line_says_where_to_get_one(tmp_path, monkeypatch, key, said):
    monkeypatch.setenv("MP_API_KEY", key)
    with pytest.raises(ConfigError, match=said) as error:
        emrl_ray.fetch(out=str(tmp_path / "out"), all=True)
    assert "get one at https://next-gen.materialsproject.org/api" in str(error.value)


def test_the_key_in_pymatgens_settings_is_found(server, tmp_path, monkeypatch):
    from pymatgen.core import SETTINGS

    monkeypatch.delenv("MP_API_KEY")
    monkeypatch.setitem(SETTINGS, "PMG_MAPI_KEY", KEY)
    assert fetched(server, tmp_path / "out", all=True).counts.rows_out == 60


def test_without_mp_api_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mp_api.client.routes.materials.summary", None)
    assert cli.main(["fetch", "--all", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == (
        "emrl-ray fetch: mp-api is not installed: pip install 'emrl-ray[mp]'\n"
    )


def test_a_server_that_is_not_there_is_said_in_one_line(tmp_path):
    with MPServer(1) as gone:
        pass
    with pytest.raises(ConnectionError, match=r"heartbeat: .*refused, after 2 tries$"):
        fetched(gone, tmp_path / "out", all=True, attempts=2)


def test_a_query_that_nothing_meets_is_said_in_one_line(server, tmp_path):
    with pytest.raises(ConfigError, match=r"no material of the database \(version 2025.09.25\)"):
        fetched(server, tmp_path / "out", band_gap="90:")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "say what to fetch: --ids FILE, --chemsys"),
        ({"ids": "f", "all": True}, "--ids f, --all: give one of them"),
        ({"all": True, "band_gap": "1:2"}, "--all, --band-gap: give one of them"),
        ({"band_gap": "2:1"}, "--band-gap 2:1: give LOW:HIGH"),
        ({"band_gap": "1"}, "--band-gap 1: give LOW:HIGH"),
        ({"band_gap": "nan:"}, "--band-gap nan:: give LOW:HIGH"),
        ({"nelements": "2.5"}, "--nelements 2.5: give LOW:HIGH .* or one whole number"),
        ({"all": True, "block_rows": 1001}, "--block-rows 1001: must lie in"),
        ({"all": True, "parallel": 9}, "--parallel 9: must lie in"),
        ({"all": True, "filter": "nelements=2"}, "--filter nelements=2: needs --optimade URL"),
        ({"optimade": "http://x"}, "--optimade: give one of --filter '...' and --all"),
        ({"optimade": "http://x", "all": True, "ids": "f"}, "--ids: is of the Materials Project"),
    ],
)
def test_options_that_contradict_each_other_are_refused(asked, said):
    with pytest.raises(ConfigError, match=f"^{said}"):
        FetchConfig(out="out", **asked)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"elements": ["Xx"]}, "--elements Xx: no such element"),
        ({"all": True, "fields": ["gap"]}, "--fields gap: choose from band_gap"),
        ({"all": True, "fields": ["n", "n"]}, "--fields n n: give each once"),
        ({"all": True, "endpoint": "ftp://x"}, "--endpoint ftp://x: must begin with http"),
    ],
)
def test_a_wrong_option_stops_before_anything_is_asked_for(tmp_path, asked, said):
    with pytest.raises(ConfigError, match=f"^{said}"):
        fetch(FetchConfig(out=str(tmp_path / "out"), **asked))
    assert not (tmp_path / "out").exists()


def test_the_manifest_accounts_for_every_row(server, tmp_path):
    fetched(server, tmp_path / "out", all=True, max_atoms=1, num_sites=None)
    manifest = read_json_of(tmp_path / "out")
    assert manifest["counts"] == {"rows_in": 60, "rows_out": 0, "rejects": {"too_many_atoms": 60}}
    assert manifest["total"] == 60
    assert pq.read_table(tmp_path / "out").num_rows == 0
