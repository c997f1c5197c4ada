"""Pages of HTML and the pieces that they share: text, numbers, lists, tables of bars."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

NOTHING = "-"
"""What stands where there is no value."""
NONE_PREDICTED = "No candidate could be predicted, so there are no predictions to show."


def document(title: str, style: str, body: Iterable[str], *head: str) -> str:
    """Return a page that needs no other file; `body` is HTML, part by part, and `head` further lines of it."""
    lines = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        *head,
        f"<title>{text(title)}</title>",
        f"<style>{style}</style>\n</head>\n<body>",
        *body,
        "</body>\n</html>\n",
    ]
    return "\n".join(lines)


def text(value: object) -> str:
    """Return a value as text that is safe in an element and in a quoted attribute."""
    return NOTHING if value is None else escape(str(value), quote=True)


def number(value: float | None, decimals: int) -> str:
    """Return a number with so many decimals; "-" for null and NaN, ∞ for what is infinite."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    shown = f"{value:.{decimals}f}"
    return shown.removeprefix("-") if float(shown) == 0 else shown


def decimals_for(spread: float) -> int:
    """Return with how many decimals numbers that differ by `spread` are told apart: four digits."""
    if not spread > 0 or math.isinf(spread):
        return 3
    return max(0, min(8, 3 - math.floor(math.log10(spread))))


def per_cent(probability: float) -> str:
    """Return a probability in per cent, with two digits where it is small."""
    value = 100 * probability
    return f"{value:.2g} %" if value < 1 else f"{value:.1f} %".replace(".0 %", " %")


def share(part: int, whole: int) -> str:
    """Return a part of a whole in per cent."""
    if whole == 0:
        return NOTHING
    per_cent = 100 * part / whole
    if 0 < per_cent < 0.1:
        return "< 0.1 %"
    if 99.9 < per_cent < 100:
        return "> 99.9 %"
    return f"{per_cent:.1f} %" if part < whole else "100 %"


def counted(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun; `many` is the plural if that is not `one` with an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def section(anchor: str, title: str, *parts: str) -> str:
    """Return a section of the page; `parts` are HTML, the title is text."""
    body = "\n".join(part for part in parts if part)
    return (
        f'<section id="{anchor}" aria-labelledby="{anchor}-title">\n'
        f'<h2 id="{anchor}-title">{text(title)}</h2>\n{body}\n</section>'
    )


def paragraph(words: str, kind: str = "") -> str:
    """Return text as a paragraph; `kind` is its class in the style sheet."""
    return f"<p{_class(kind)}>{text(words)}</p>" if words else ""


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Return a list of names and values; those without a value are left out."""
    items = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>"
        for name, value in pairs
        if value not in (None, "", [])
    )
    return f'<dl class="facts">{items}</dl>' if items else ""


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table of text; the first cell of a row is its header."""
    body = "\n".join(
        f'<tr><th scope="row">{text(first)}</th>'
        + "".join(f"<td>{text(cell)}</td>" for cell in cells)
        + "</tr>"
        for first, *cells in rows
    )
    return _table("plain", caption, [text(cell) for cell in head], body)


def bars(
    caption: str, head: tuple[str, str, str], rows: Sequence[tuple[str, int, str]], whole: int
) -> str:
    """Return a table with a bar a row: name, count, remark; a full bar is `whole`.

    `head` has a title for the names, the counts and the remarks.
    """
    lines = []
    for name, count, remark in rows:
        width = 100 * count / whole if whole else 0
        bar = f'<span style="width:{width:.2f}%"></span>' if count else ""
        lines.append(
            f'<tr><th scope="row">{text(name)}</th><td class="n">{count:,}</td>'
            f'<td class="n">{share(count, whole)}</td><td class="track">{bar}</td>'
            f'<td class="remark">{text(remark)}</td></tr>'
        )
    names, counts, remarks = map(text, head)
    titles = [names, counts, "Share", '<span class="unseen">Bar</span>', remarks]
    return _table("bars", caption, titles, "\n".join(lines))


def figure(drawing: str, caption: str, legend: str = "") -> str:
    """Return a drawing with what explains it below; `legend` is HTML."""
    return f"<figure>\n{drawing}\n<figcaption>{legend}{paragraph(caption)}</figcaption>\n</figure>"


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """Return the key of a figure: pairs of a class of the style sheet and text."""
    items = "".join(
        f'<li><i class="{kind}"></i>{text(words)}</li>' for kind, words in entries if words
    )
    return f'<ul class="legend">{items}</ul>'


def plain(value: Any) -> str:
    """Return a value of a manifest as text: lists and mappings in one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return "none" if value is None else str(value)


def _table(kind: str, caption: str, head: Sequence[str], body: str) -> str:
    cells = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    return (
        f'<div class="scroll"><table class="{kind}"><caption>{text(caption)}</caption>\n'
        f"<thead><tr>{cells}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
