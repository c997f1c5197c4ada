"""Fetch from the Materials Project: the unmodified mp-api against a server of the tests' own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import emrl_ray
from emrl_ray import cli
from emrl_ray.config import UserError
from emrl_ray.crystals.units import column_metadata
from emrl_ray.io.parquet import read_table, table_schema
from emrl_ray.io.paths import read_json, resolve
from tests.support.crystal_files import structure
from tests.support.fetches import fetched, rejects
from tests.support.servers.mp import KEY

pytest.importorskip("mp_api")
pytestmark = pytest.mark.usefixtures("mp_key")


def read_json_of(out: Path):
    return read_json(resolve(out) / "_manifest.json")


def test_a_table_holds_the_properties_with_units_and_where_it_comes_from(mp_server, tmp_path):
    out = tmp_path / "out"
    fields = [
        "band_gap",
        "formation_energy_per_atom",
        "bulk_modulus.vrh",
        "is_stable",
        "theoretical",
    ]
    mp_server.materials[0]["band_gap"] = None
    fetched(mp_server, out, all=True, fields=fields)
    schema = table_schema(out)
    theory = "GGA, GGA+U or r2SCAN (Materials Project)"
    assert column_metadata(schema.field("band_gap")) == ("eV", theory)
    assert column_metadata(schema.field("formation_energy_per_atom")) == ("eV/atom", theory)
    assert column_metadata(schema.field("bulk_modulus_vrh")) == ("GPa", theory)
    row = read_table(out).slice(0, 1).to_pylist()[0]
    assert (row["id"], row["formula"], row["band_gap"]) == ("mp-1", "KLi", None)
    assert (row["bulk_modulus_vrh"], row["is_stable"], row["theoretical"]) == (1.0, False, None)
    origin = json.loads(schema.metadata[b"emrl_ray.origin"])
    assert origin == read_json_of(out)["origin"]
    assert origin["database_version"] == "2025.09.25"
    assert (origin["source"], origin["endpoint"]) == ("Materials Project", f"{mp_server.url}/")
    assert set(mp_server.asked("_fields")) == {
        "material_id",  # to count
        ",".join(["material_id", "structure", *fields]),
    }


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
        ({"chemsys": ["Li-O,K-Li"]}, lambda m: m["chemsys"] in ("Li-O", "K-Li")),
        ({"chemsys": ["Li-O", "K-Li"]}, lambda m: m["chemsys"] in ("Li-O", "K-Li")),
    ],
)
def test_a_query_brings_what_it_asks_for(mp_server, tmp_path, asked, wanted):
    fetched(mp_server, tmp_path / "out", **asked)
    expected = {each["material_id"] for each in mp_server.materials if wanted(each)}
    assert set(read_table(tmp_path / "out").column("id").to_pylist()) == expected
    assert 0 < len(expected) < 61


def test_ids_come_in_the_order_of_their_file_and_others_become_rejects(mp_server, tmp_path):
    ids = tmp_path / "ids.csv"
    ids.write_text("formula,material_id\nx,mp-30\nx,mp-4\nx,mp-999\nx,mp-30\nx,banana\nx,mp-12\n")
    mp_server.materials[3]["structure"]["sites"][0]["species"] = [
        {"element": "Li", "occu": 0.5},
        {"element": "Na", "occu": 0.5},
    ]  # of mp-12: sorted as text, mp-1, mp-10, mp-11, mp-12
    result = fetched(mp_server, tmp_path / "out", ids=str(ids), block_rows=4)
    assert read_table(tmp_path / "out").column("id").to_pylist() == ["mp-30", "mp-4"]
    assert result.counts.rows_in == 6
    assert rejects(tmp_path / "out") == {
        "mp-999": ("read", "unknown_id"),
        "mp-30": ("read", "duplicate_id"),
        "banana": ("read", "unknown_id"),
        "mp-12": ("read", "disordered"),
    }
    assert sorted(mp_server.asked("material_ids")) == ["mp-12", "mp-30,mp-4,mp-999"]


def test_another_query_on_the_same_folder_is_refused(mp_server, tmp_path):
    out = tmp_path / "out"
    fetched(mp_server, out, band_gap="0:1")
    with pytest.raises(UserError, match=r"--band-gap was '0:1', is '0:2'.*use --overwrite"):
        fetched(mp_server, out, band_gap="0:2")
    fetched(mp_server, out, band_gap="0:2", overwrite=True, parallel=2, attempts=2)
    assert max(read_table(out).column("band_gap").to_pylist()) == 2


def test_the_same_query_in_other_words_is_the_same(mp_server, tmp_path, monkeypatch, capsys):
    (tmp_path / "ids").write_text("mp-1\nmp-2\n")
    monkeypatch.chdir(tmp_path)
    fetched(mp_server, tmp_path / "out", ids="ids", fields=["band_gap,volume"])
    given = {"ids": str(tmp_path / "ids"), "fields": ["band_gap", "volume"]}
    fetched(mp_server, tmp_path / "out", **given, endpoint=f"{mp_server.url}/")
    assert "is finished, nothing to do" in capsys.readouterr().out
    assert {"band_gap", "volume"} <= {*table_schema(tmp_path / "out").names}


def test_a_crystal_that_comes_twice_is_kept_once(mp_server, tmp_path):
    mp_server.materials[25] = mp_server.materials[3]
    result = fetched(mp_server, tmp_path / "out", all=True)
    assert result.counts == (60, 59, {"duplicate_id": 1})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"structure": None}, "unreadable"),
        ({"structure": {"lattice": {}, "sites": []}}, "no_atoms"),
        ({"structure": structure(occupancy=0.5)}, "disordered"),
        ({"structure": structure(first="Xx")}, "unknown_element"),
        ({"structure": structure() | {"lattice": {"matrix": [[1, 0, 0]]}}}, "bad_cell"),
        ({"band_gap": "wide"}, "unreadable"),
    ],
)
def test_a_material_that_is_no_crystal_is_a_reject(mp_server, tmp_path, change, reason):
    mp_server.materials[3] |= change
    fetched(mp_server, tmp_path / "out", all=True)
    assert rejects(tmp_path / "out") == {"mp-12": ("read", reason)}


@pytest.mark.parametrize(("key", "said"), [("", "^no Materials"), ("short", "not one of 32 char")])
def test_without_a_key_one_line_says_where_to_get_one(tmp_path, monkeypatch, key, said):
    monkeypatch.setenv("MP_API_KEY", key)
    with pytest.raises(UserError, match=said) as error:
        emrl_ray.fetch(out=str(tmp_path / "out"), all=True)
    assert "get one at https://next-gen.materialsproject.org/api" in str(error.value)


def test_the_key_in_pymatgens_settings_is_found(mp_server, tmp_path, monkeypatch):
    from pymatgen.core import SETTINGS

    monkeypatch.delenv("MP_API_KEY")
    monkeypatch.setitem(SETTINGS, "PMG_MAPI_KEY", KEY)
    assert fetched(mp_server, tmp_path / "out", all=True).counts.rows_out == 60


def test_without_mp_api_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mp_api.client.routes.materials.summary", None)
    assert cli.main(["fetch", "--all", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == (
        "emrl-ray fetch: mp-api is not installed: pip install 'emrl-ray[mp]'\n"
    )


def test_a_query_that_nothing_meets_is_said_in_one_line(mp_server, tmp_path):
    with pytest.raises(UserError, match=r"no material of the database \(version 2025.09.25\)"):
        fetched(mp_server, tmp_path / "out", band_gap="90:")
    assert not (tmp_path / "out").exists()


def test_the_manifest_accounts_for_every_row(mp_server, tmp_path):
    fetched(mp_server, tmp_path / "out", all=True, max_atoms=1, num_sites=None)
    manifest = read_json_of(tmp_path / "out")
    assert manifest["counts"] == {"rows_in": 60, "rows_out": 0, "rejects": {"too_many_atoms": 60}}
    assert manifest["total"] == 60
    assert pq.read_table(tmp_path / "out").num_rows == 0
