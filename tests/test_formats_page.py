"""The page of everything that crystals come from: each row of its tables names the test that shows it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "formats.md").read_text()
ROW = re.compile(r"^\| (?!source|---)(.+?) \|.*\| (.+?) \|$", re.MULTILINE)
TABLES = ("## From a database", "## From files", "## From an idea")


def rows(heading: str) -> list[tuple[str, str]]:
    """Return (source, test) of the rows of the table under a heading."""
    section = PAGE.partition(f"{heading}\n")[2].partition("\n## ")[0]
    return ROW.findall(section)


def test_every_row_of_the_page_names_a_test_that_is_there():
    code = "".join(path.read_text() for path in sorted((ROOT / "tests").glob("test_*.py")))
    for heading in TABLES:
        found = rows(heading)
        assert len(found) >= 3
        for source, test in found:
            assert re.fullmatch(r"`test_\w+`", test), source
            assert code.count(f"def {test.strip('`')}(") == 1, source
