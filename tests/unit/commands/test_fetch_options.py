"""Options of fetch that are refused before anything is asked for."""

from __future__ import annotations

import pytest

from emrl_ray.commands.fetch import fetch
from emrl_ray.config import FetchConfig, UserError


@pytest.fixture(autouse=True)
def mp_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MP_API_KEY", 32 * "k")


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
    with pytest.raises(UserError, match=f"^{said}"):
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
    with pytest.raises(UserError, match=f"^{said}"):
        fetch(FetchConfig(out=str(tmp_path / "out"), **asked))
    assert not (tmp_path / "out").exists()
