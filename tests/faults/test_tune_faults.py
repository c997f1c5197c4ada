"""A search whose driver is killed goes on with the trials that were not over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.labeled_crystals import write_crystals
from tests.support.processes import TuneCall
from tests.support.searches import assert_none_was_lost, kept, options

pytestmark = pytest.mark.slow


@pytest.mark.timeout(1200)
def test_a_search_whose_driver_was_killed_loses_no_trial(cluster: Any, tmp_path: Path):
    crystals = write_crystals(tmp_path / "crystals.parquet")
    out = tmp_path / "search"
    given = options(crystals, out, address=cluster.address)
    call = TuneCall(given)
    call.until_reached(lambda: bool(kept(out)))
    call.kill()
    before = kept(out)
    assert f"{len(before)} of them done" in TuneCall(given).wait()
    assert_none_was_lost(out, before)
