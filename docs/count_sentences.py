"""Count the words of the sentences of README, help, messages and docstrings.

    python docs/count_sentences.py          prints sentences, mean words, share above 30 words
    python docs/count_sentences.py long     prints the sentences above 30 words

Help texts are docstrings of options. Code in backticks counts as one word. Tables, code blocks and lists of
what a function takes are no sentences; a semicolon ends none.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONG = 30


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a text; paragraphs and list items end one."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for block in re.split(r"\n\s*\n|\n\s*[-*#|>] ?|\n\s*\d+\. ", text):
        if "|" in block:
            continue
        flat = re.sub(r"\s+", " ", re.sub(r"`[^`]*`", "x", block)).strip()
        for sentence in re.split(r"(?<=[.?!:]) (?=[A-Z])", flat):
            if len(sentence.split()) > 2:
                yield sentence


def texts() -> Iterator[tuple[str, str]]:
    """Yield where a text stands, and the text: README, docstrings (help among them), messages."""
    yield "README.md", (ROOT / "README.md").read_text("utf-8")
    for file in sorted((ROOT / "emrl_ray").rglob("*.py")):
        name = str(file.relative_to(ROOT))
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                if isinstance(node.value.value, str):
                    yield f"{name}:{node.lineno}", node.value.value
            elif isinstance(node, ast.JoinedStr):
                parts = (
                    part.value if isinstance(part, ast.Constant) else "x" for part in node.values
                )
                yield f"{name}:{node.lineno}", "".join(map(str, parts))


def counted() -> list[tuple[int, str, str]]:
    """Return words, place and text of all sentences."""
    return [
        (len(sentence.split()), place, sentence)
        for place, text in texts()
        for sentence in sentences(text)
    ]


if __name__ == "__main__":
    found = counted()
    if sys.argv[1:] == ["long"]:
        for words, place, sentence in sorted(found, reverse=True):
            if words > LONG:
                print(words, place, sentence)
    else:
        mean = sum(words for words, *_ in found) / len(found)
        share = sum(words > LONG for words, *_ in found) / len(found)
        print(f"{len(found):,} sentences, {mean:.1f} words on average, {share:.1%} over {LONG}")
