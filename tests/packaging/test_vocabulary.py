"""One word a concept: words that the glossary replaced do not come back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from docs.count_sentences import LONG, counted
from tests.support.paths import ROOT

REPLACED = {
    "complaint": "message",
    "further": "extra",
    "party": "batch",
    "piece": "partition",
    "sought": "objective",
    "twin": "duplicate",
}
"""Parts of identifiers, and words of prose, that another word stands for."""
PROSE = REPLACED.keys() - {"further", "party", "piece"} | {"slice"}
"""Words that docstrings, messages and pages do without in any sense."""
PAGES = ("README.md", "CONTRIBUTING.md")


def singular(word: str) -> str:
    return {"parties": "party"}.get(word, word.removesuffix("s"))


def parts(name: str) -> list[str]:
    """Return the words of an identifier, in lower case."""
    return [part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def identifiers(tree: ast.AST) -> Iterator[str]:
    """Yield all names that a module defines or uses."""
    for node in ast.walk(tree):
        for field in ("name", "id", "arg", "attr"):
            if isinstance(name := getattr(node, field, None), str):
                yield name


def texts(tree: ast.AST) -> Iterator[str]:
    """Yield docstrings and messages."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.value


def modules() -> Iterator[tuple[Path, ast.AST]]:
    for file in sorted((ROOT / "emrl_ray").rglob("*.py")):
        yield file, ast.parse(file.read_text("utf-8"))


def test_identifiers_have_the_words_of_the_glossary():
    for file, tree in modules():
        for name in identifiers(tree):
            found = {singular(part) for part in parts(name)} & REPLACED.keys()
            assert not found, f"{file}: {name}: {REPLACED[found.pop()]} is the word"


def test_bounds_are_min_and_max():
    for file, tree in modules():
        constants = (name for name in identifiers(tree) if name.isupper())
        assert not [name for name in constants if re.match(r"_?(LEAST|MOST)(_|$)", name)], file


def test_prose_has_the_words_of_the_glossary():
    pages = [(ROOT / page, (ROOT / page).read_text("utf-8")) for page in PAGES]
    strings = [(file, text) for file, tree in modules() for text in texts(tree)]
    for file, text in pages + strings:
        words = re.findall(r"(?<![`\w/.-])[A-Za-z]+(?![\w(-])", text)
        found = {singular(word.lower()) for word in words} & PROSE
        assert not found, f"{file}: {found} in {text[:200]!r}"


def test_sentences_are_short():
    words = [count for count, *_ in counted()]
    assert sum(words) / len(words) <= 18
    assert sum(count > LONG for count in words) / len(words) <= 0.03
