"""Fetch from OPTIMADE servers."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from emrl_ray import cli
from emrl_ray.commands.fetch import fetch
from emrl_ray.config import FetchConfig, UserError
from emrl_ray.crystals.schema import CRYSTAL_SCHEMA, READ_BY
from emrl_ray.crystals.units import ColumnMetadata, column_metadata
from emrl_ray.io.parquet import read_table, table_schema
from emrl_ray.sources.files.formats.optimade import STRUCTURE_FIELDS
from tests.support.paths import ROOT
from tests.support.servers.optimade import OptimadeServer, species, structure
from tests.support.servers.web import one_in_twenty

FILTER = 'elements HAS "Na" AND nelements=2'


@pytest.fixture
def server() -> Iterator[OptimadeServer]:
    with OptimadeServer(35) as running:
        yield running


def options(server: OptimadeServer, out: Path, **more):
    asked = {"optimade": f"{server.url}/optimade", "filter": FILTER}
    return {"out": str(out), "patience": 0.01, "block_rows": 10, **asked, **more}


def fetched(server: OptimadeServer, out: Path, **more):
    return fetch(FetchConfig(**options(server, out, **more)))


def files(out: Path) -> dict[str, bytes]:
    """Return the content of every file of rows and rejects."""
    return {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*.parquet")}


@pytest.mark.parametrize("link", ["text", "object", "relative"])
def test_pages_are_followed_to_the_last(tmp_path, link):
    with OptimadeServer(35, link) as server:
        assert fetched(server, tmp_path / "out").counts == (35, 35, {})
        assert server.asked("page_offset") == ["10", "20", "30"]
        assert set(server.asked("filter")) == {FILTER}
    table = read_table(tmp_path / "out")
    assert table.column("id").to_pylist() == [f"ex-{number}" for number in range(35)]
    assert table.column("formula").to_pylist() == ["NaCl"] * 35
    row = table.slice(5, 1).to_pylist()[0]
    assert row["lattice"] == np.ravel(structure(5)["attributes"]["lattice_vectors"]).tolist()
    assert row["atomic_numbers"] == [11, 17]
    np.testing.assert_allclose(row["frac_coords"], [0, 0, 0, 0.5, 0.5, 0.5], atol=1e-15)


def test_1000_structures_arrive_complete_through_5_percent_failing_requests(tmp_path, capsys):
    with OptimadeServer(1000) as server:
        server.faults = lambda number, path: (
            None if one_in_twenty(number, path) == "short" else one_in_twenty(number, path)
        )  # a short page is a right of an OPTIMADE server
        assert fetched(server, tmp_path / "out", block_rows=8).counts == (1000, 1000, {})
    ids = read_table(tmp_path / "out").column("id").to_pylist()
    assert ids == [f"ex-{number}" for number in range(1000)]
    assert "requests repeated" in capsys.readouterr().out


def test_a_fetch_killed_half_way_goes_on_and_ends_the_same(tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    with OptimadeServer(200) as server:
        given = options(server, out)
        server.held_from = 1 + 9  # one to begin with, then nine pages
        words = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
        run = subprocess.Popen(
            [sys.executable, "-m", "emrl_ray", "fetch", *words], cwd=ROOT, stdout=subprocess.DEVNULL
        )
        until = time.monotonic() + 120
        while len(list(out.glob("slice-*.parquet"))) < 9 and time.monotonic() < until:
            time.sleep(0.02)
        run.send_signal(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
        kept = files(out)
        assert len(kept) == 9
        server.released.set()
        server.held_from = None
        server.requests.clear()
        assert fetch(FetchConfig(**given)).counts == (200, 200, {})
        assert server.asked("page_offset") == [str(start) for start in range(90, 200, 10)]
        fetch(FetchConfig(**{**given, "out": str(other)}))
    assert files(out) == files(other)
    assert kept.items() <= files(out).items()


def test_only_what_is_needed_is_asked_for_and_properties_become_columns(server, tmp_path):
    out = tmp_path / "out"
    fields = ["_exmpl_gap", "_exmpl_direct", "_exmpl_note", "nelements"]
    fetched(server, out, fields=fields, theory="PBEsol")
    needed = [*STRUCTURE_FIELDS, *fields]
    assert set(server.asked("response_fields")) == {"nelements", ",".join(needed)}
    schema = table_schema(out)
    assert column_metadata(schema.field("_exmpl_gap")) == ColumnMetadata("eV", "PBEsol")
    assert column_metadata(schema.field("nelements")) == ColumnMetadata(None, "PBEsol")
    row = read_table(out).slice(7, 1).to_pylist()[0]
    assert [row[name] for name in fields] == [0.7, False, "number 7", 2.0]
    assert set(row) == {*CRYSTAL_SCHEMA.names, *fields, READ_BY}
    assert row[READ_BY] == "emrl_ray"
    origin = json.loads(schema.metadata[b"emrl_ray.origin"])
    assert origin["source"] == "OPTIMADE (Example)"
    assert origin["query"] == {"filter": FILTER}
    assert json.loads((out / "_manifest.json").read_text())["origin"] == origin


def test_flaws_and_repeated_ids_become_rejects(server, tmp_path):
    server.structures[4]["attributes"]["species"][0] = species("Na", "Na", "K")
    server.structures[7]["attributes"]["lattice_vectors"][0] = [None, 0, 0]
    server.structures[9]["attributes"]["_exmpl_gap"] = "wide"
    server.structures[20]["id"] = "ex-3"
    server.structures[21] = {"type": "structures"}
    result = fetched(server, tmp_path / "out", fields=["_exmpl_gap"])
    rows = read_table(tmp_path / "out" / "_rejects").to_pylist()
    assert {row["id"]: (row["stage"], row["reason"]) for row in rows} == {
        "ex-4": ("read", "disordered"),
        "ex-7": ("read", "bad_cell"),
        "ex-9": ("read", "unreadable"),
        "ex-3": ("validate", "duplicate_id"),
        "": ("read", "unreadable"),
    }
    assert result.counts == (35, 30, result.counts.rejects)


def test_after_the_last_try_what_came_stays_and_the_same_command_goes_on(server, tmp_path, capsys):
    out = tmp_path / "out"
    server.faults = lambda number, path: "malformed" if "page_offset=20" in path else None
    given = options(server, out, attempts=3)
    words = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    assert cli.main(["fetch", *words]) == 2
    said = capsys.readouterr().err
    assert "/optimade/v1/structures: a malformed answer (" in said
    assert said.endswith(f"until then, 2 partitions, is in {out}, and the same command goes on\n")
    server.faults = lambda number, path: None
    server.requests.clear()
    assert cli.main(["fetch", *words]) == 0
    assert server.asked("page_offset") == ["20", "30"]
    server.requests.clear()
    assert cli.main(["fetch", *words]) == 0
    assert cli.main(["fetch", *words, f"--optimade={given['optimade']}/"]) == 0
    assert server.requests == []
    other = [word for word in words if not word.startswith("--filter")] + ["--filter=nelements=3"]
    assert cli.main(["fetch", *other]) == 2
    assert re.search(r"--filter was '.*', is 'nelements=3'", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        (
            {"filter": "nonsense"},
            ConnectionError,
            "structures: 400 Bad Request: cannot parse the fil",
        ),
        ({"fields": ["gap"]}, UserError, "--fields gap: choose from _exmpl_gap, _exmpl_direct"),
        ({"fields": ["_exmpl_table"]}, UserError, "--fields _exmpl_table: choose from"),
        ({"fields": ["id"]}, UserError, "--fields id: choose from"),
        ({"optimade": "example.org"}, UserError, "--optimade example.org: must begin with http"),
    ],
)
def test_what_the_server_refuses_is_said_in_one_line(server, tmp_path, asked, error, said):
    with pytest.raises(error, match=said) as raised:
        fetched(server, tmp_path / "out", **asked)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_a_filter_that_nothing_meets_is_said_in_one_line(tmp_path):
    with OptimadeServer(0) as server, pytest.raises(UserError, match="no structure of http"):
        fetched(server, tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"links": 5}, "its links or meta are none"),
        ({"links": {"next": 5}}, "its links or meta are none"),
        ({"links": {"next": {"href": 7}}}, "its links or meta are none"),
        ({"links": {"next": "http://[x"}}, "no link to a next page"),
        ({"meta": ["x"]}, "its links or meta are none"),
        ({"links": {}}, "more data is there, and no link to the next page"),
        ({"data": []}, "an empty page with a link to a next one"),
    ],
)
def test_an_answer_of_another_form_is_asked_for_again(server, tmp_path, changes, said):
    whole = server.answer

    def answer(path, query, headers):
        status, content = whole(path, query, headers)
        return status, content | (changes if query.get("page_offset") == "20" else {})

    server.answer = answer
    with pytest.raises(
        ConnectionError, match=rf"{said}.*, after 3 tries; what came .* 2 partitions"
    ):
        fetched(server, tmp_path / "out", attempts=3)
    assert server.asked("page_offset") == ["10", "20", "20", "20"]
    assert not (tmp_path / "out" / "_manifest.json").exists()
    changes.clear()
    assert fetched(server, tmp_path / "out").counts == (35, 35, {})


@pytest.mark.parametrize(
    "meta",
    [
        {"provider": "text", "database": ["x"], "data_returned": "many"},
        {"provider": {"name": 5}, "database": {"version": {}}, "data_returned": -1},
        {"provider": {"name": "\ud800x"}, "database": {"version": "\udc00"}},
        None,
    ],
)
def test_what_a_server_says_of_itself_in_another_form_does_no_harm(server, tmp_path, meta):
    server.changes = {"meta": meta}
    assert fetched(server, tmp_path / "out").counts == (35, 35, {})
    (out,) = {table_schema(tmp_path / "out").metadata[b"emrl_ray.origin"]}
    assert json.loads(out)["source"].startswith("OPTIMADE (")


def test_properties_in_another_form_do_no_harm(server, tmp_path):
    server.properties = {
        "_exmpl_gap": {"type": ["number", "null"], "unit": ["eV"]},
        "_exmpl_note": {"type": ["string", "null"], "x-optimade-unit": "\ud800"},
        "_exmpl_direct": "boolean",
        "_exmpl_any": {"type": ["string", "number", "null"]},
        "_exmpl_odd": {"type": {"a": 1}},
    }
    with pytest.raises(UserError, match=r"choose from _exmpl_gap, _exmpl_note$"):
        fetched(server, tmp_path / "out", fields=["_exmpl_direct"])
    server.structures[3]["attributes"] = "text"
    server.structures[4]["attributes"] |= {"_exmpl_gap": 2**60 + 1, "_exmpl_note": "a\ud800"}
    server.structures[5]["attributes"]["_exmpl_gap"] = 10**400
    server.structures[6]["id"] = "\ud800x"
    server.structures[7] |= {"id": "\udfffy", "attributes": {}}
    result = fetched(server, tmp_path / "out", fields=["_exmpl_gap", "_exmpl_note"])
    assert result.counts == (35, 32, {"unreadable": 3})
    table = read_table(tmp_path / "out")
    rows = {row["id"]: row for row in table.to_pylist()}
    assert rows["ex-4"]["_exmpl_gap"] == float(2**60 + 1)
    assert rows["ex-4"]["_exmpl_note"] == "a\\ud800"
    assert "\\ud800x" in rows
    rejects = read_table(tmp_path / "out" / "_rejects").to_pylist()
    assert [row["id"] for row in rejects] == ["ex-3", "ex-5", "\\udfffy"]


def test_a_page_that_is_too_large_is_refused_in_the_servers_own_words(server, tmp_path):
    server.page_limit_max = 8
    with pytest.raises(
        PermissionError, match=r"403 .*; it says: page_limit is at most 8; give fewer --block-rows"
    ):
        fetched(server, tmp_path / "out")
    again = fetched(server, tmp_path / "out", block_rows=8, overwrite=True)
    assert again.counts == (35, 35, {})


def test_a_database_without_structures_is_said_in_one_line(tmp_path):
    with (
        OptimadeServer(0) as server,
        pytest.raises(UserError, match=r"^--all: http.* has no str"),
    ):
        fetched(server, tmp_path / "out", filter=None, all=True)


def test_pages_that_lead_back_end_the_fetch(server, tmp_path):
    server._next = lambda path, query: server.requests[1]
    with pytest.raises(ConnectionError, match="leads back to an earlier one; what came"):
        fetched(server, tmp_path / "out")
