"""The page of everything that crystals come from: what its tables name is there, and a test shows each row."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from emrl_ray.config import FetchConfig, GenerateConfig, IngestConfig
from emrl_ray.crystals.schema import RejectReason
from emrl_ray.sources.files.file_types import kind_of
from emrl_ray.sources.files.formats.registry import PARSERS
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "formats.md").read_text()
VERBS = {
    "## From a database": FetchConfig,
    "## From files": IngestConfig,
    "## From an idea": GenerateConfig,
}
READERS = {*PARSERS.values(), "pyarrow", "ASE", "our own", "pymatgen", "Python"}
"""How the page begins to name what reads a format."""


def rows(heading: str) -> list[dict[str, str]]:
    """Return the rows of the table under a heading, by the names of its columns."""
    section = PAGE.partition(f"{heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ") or line[:2] == "|-"]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_every_row_of_the_page_names_a_test_that_is_there():
    code = "".join(path.read_text() for path in sorted((ROOT / "tests").rglob("test_*.py")))
    for heading in VERBS:
        found = rows(heading)
        assert len(found) >= 3
        for row in found:
            assert re.fullmatch(r"`test_\w+`", row["test"]), row
            assert code.count(f"def {row['test'].strip('`')}(") == 1, row


@pytest.mark.parametrize("heading", VERBS)
def test_the_options_that_the_page_names_are_options(heading):
    entries = fields(VERBS[heading])
    known = {entry.metadata.get("alias", entry.name.replace("_", "-")) for entry in entries}
    named = re.findall(r"`[^`]*?--([a-z-]+)[^`]*`", " ".join(map(str, rows(heading))))
    assert named
    assert {*named} <= known


def test_the_names_of_files_are_those_that_are_read():
    for row in rows("## From files"):
        for name in quoted(row["names"]):
            if not name.startswith("."):
                star = ".x" if name.endswith("*") else "x"
                assert kind_of(name.replace("*", star)) is not None, name


def test_the_reasons_of_rejects_are_those_that_there_are():
    for row in rows("## From a database"):
        named = [word for word in quoted(row["what becomes a reject"]) if "-" not in word]
        assert named
        assert {*named} <= {*map(str, RejectReason)}


def test_every_format_is_read_by_a_library_that_we_know():
    for row in rows("## From files"):
        assert not row["read by"] or row["read by"].startswith(tuple(READERS)), row
