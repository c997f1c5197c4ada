"""Pages of docs/ of which a part is made from results."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def put_between(page: str, name: str, text: str) -> str:
    """Return the page with `text` between the markers of `name`."""
    begin, end = f"<!-- {name}: begin -->\n", f"\n<!-- {name}: end -->"
    pattern = f"(?<={re.escape(begin)}).*?(?={re.escape(end)})"
    changed, count = re.subn(pattern, lambda _: text, page, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"the page needs the markers of {name!r} once, found {count}")
    return changed


def markdown_table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table, the first column to the left and the others to the right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
