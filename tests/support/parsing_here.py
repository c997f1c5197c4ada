"""A pool that parses in this process, in place of `ParserPool` with processes of its own."""

from __future__ import annotations

import pytest

from emrl_ray.commands import ingest
from tests.support.crystal_files import PoolHere


class _Pool(PoolHere):
    """A pool as `ingest` makes it."""

    def __init__(self, *_: object) -> None:
        pass

    def close(self) -> None:
        """Do nothing: there is no process to end."""


def parse_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `ingest` on the local engine parse in this process."""
    monkeypatch.setattr(ingest, "ParserPool", _Pool)
