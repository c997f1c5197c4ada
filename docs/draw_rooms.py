"""Draw the rooms of the package, from its import statements, into docs/architecture.md.

python docs/draw_rooms.py
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

DOCS = Path(__file__).parent
PACKAGE = DOCS.parent / "emrl_ray"
BEGIN, END = "<!-- rooms: begin -->\n", "<!-- rooms: end -->"


def rooms() -> list[str]:
    """Return the names of the folders, and of `cli`, at the top of the package."""
    folders = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    return sorted([*folders, "cli"])


def imports() -> dict[str, set[str]]:
    """Return the rooms that each room imports from."""
    names = rooms()
    found: dict[str, set[str]] = {name: set() for name in names}
    for file in sorted(PACKAGE.rglob("*.py")):
        room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if room in found and isinstance(node, ast.ImportFrom) and node.module:
                package, _, rest = node.module.partition(".")
                targets = [rest.split(".")[0]] if rest else [alias.name for alias in node.names]
                if package == PACKAGE.name:
                    found[room] |= {name for name in targets if name in names} - {room}
    found["cli"].add("commands")  # by name, when a command runs
    return found


def reduced(edges: dict[str, set[str]]) -> dict[str, list[str]]:
    """Return the edges without those that a longer way replaces."""

    def reach(room: str) -> set[str]:
        return edges[room].union(*(reach(other) for other in edges[room]))

    return {
        room: sorted(
            other
            for other in direct
            if not any(other in reach(third) for third in direct - {other})
        )
        for room, direct in edges.items()
    }


def picture() -> str:
    """Return the rooms and their imports as a Mermaid graph."""
    lines = [
        f"    {room} --> {other}" for room, others in reduced(imports()).items() for other in others
    ]
    return "\n".join(["```mermaid", "graph TD", *lines, "```", ""])


def drawn(page: str) -> str:
    """Return the page with the picture between its markers."""
    pattern = f"(?<={re.escape(BEGIN)}).*?(?={re.escape(END)})"
    return re.sub(pattern, lambda _: picture(), page, flags=re.DOTALL)


if __name__ == "__main__":
    place = DOCS / "architecture.md"
    place.write_text(drawn(place.read_text("utf-8")), "utf-8")
