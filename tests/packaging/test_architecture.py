"""The page about the architecture: its picture is that of the imports, and its steps are there."""

from __future__ import annotations

import ast
import re

from docs.draw_rooms import drawn
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "architecture.md"


def test_the_picture_is_that_of_the_imports():
    page = PAGE.read_text("utf-8")
    assert page == drawn(page), "python docs/draw_rooms.py draws it anew"


def test_each_step_names_a_file_and_what_is_defined_there():
    steps = re.findall(r"\| `([\w/]+\.py)`: `(\w+)` \|", PAGE.read_text("utf-8"))
    assert len(steps) > 10
    for file, name in steps:
        tree = ast.parse((ROOT / "emrl_ray" / file).read_text("utf-8"))
        assert name in {node.name for node in tree.body if hasattr(node, "name")}, (file, name)
