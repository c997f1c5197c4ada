"""Tables on a terminal: aligned, no wider than it, nothing but what there is."""

from __future__ import annotations

import io
import logging

import pytest

from emrl_ray.io import console
from emrl_ray.io.console import log, table

COLUMNS = {
    "id": ["a-very-long-name-of-a-file-000001", "b"],
    "gap": [1.5, None],
    "note": [None, None],
    "count": [12, 3],
}


def test_numbers_stand_to_the_right_and_a_column_without_values_is_left_out():
    assert table({"name": ["a", "long"], "gap": [1.5, None], "none": [None, None]}, 80) == [
        "name     gap",
        "a     1.5000",
        "long       -",
    ]


def test_long_texts_lose_their_middle_where_the_terminal_is_narrow():
    wide, narrow = table(COLUMNS, 80), table(COLUMNS, 30)
    assert wide[1].split() == ["a-very-long-name-of-a-file-000001", "1.5000", "12"]
    assert narrow[1].split() == ["a-very-…-000001", "1.5000", "12"]
    assert max(map(len, narrow)) <= 30


def test_a_text_keeps_eight_characters_however_narrow_the_terminal():
    assert table(COLUMNS, 5)[1].split()[0] == "a-ve…001"


def test_tiny_numbers_keep_their_digits():
    assert table({"x": [1.25e-5, -3e-7]}, 80)[1:] == ["1.25e-05", "  -3e-07"]


def test_without_rows_there_are_the_headings():
    assert table({"id": [], "gap": []}, 80) == ["id  gap"]


def test_what_is_logged_is_a_line_where_the_log_is_shown(capsys):
    log("screen: 3 rows\nscreen: done")
    log("what is beside", aside=True)
    assert capsys.readouterr() == ("screen: 3 rows\nscreen: done\n", "what is beside\n")


def test_nothing_is_shown_where_nobody_asked_for_it(monkeypatch, capsys):
    monkeypatch.setattr(console.LOGGER, "handlers", [logging.NullHandler()])
    log("screen: 3 rows")
    assert capsys.readouterr() == ("", "")


def test_a_closed_pipe_ends_what_writes_to_it(monkeypatch):
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Closed())
    with pytest.raises(BrokenPipeError):
        log("screen: 3 rows")
