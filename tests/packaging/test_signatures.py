"""The signatures that type checkers read are those of the options."""

from __future__ import annotations

from docs.write_signatures import STUB, formatted, stub


def test_the_signatures_are_those_of_the_options():
    found = STUB.read_text("utf-8")
    assert found == formatted(stub()), "python docs/write_signatures.py writes them anew"
