"""Fixtures of the servers that only commands of this tier ask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.servers.mp import MPServer


@pytest.fixture
def mp_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of the Materials Project, and none in the settings of whoever runs the tests."""
    from pymatgen.core import SETTINGS

    from tests.support.servers.mp import KEY

    monkeypatch.setenv("MP_API_KEY", KEY)
    monkeypatch.delitem(SETTINGS, "PMG_MAPI_KEY", raising=False)


@pytest.fixture
def mp_server() -> Iterator[MPServer]:
    """A server with 60 materials."""
    from tests.support.servers.mp import MPServer

    with MPServer(60) as running:
        yield running
