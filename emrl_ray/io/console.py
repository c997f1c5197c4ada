"""What people read: tables as wide as the terminal, numbers under numbers."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence

WIDTH = 120
"""Columns of what is no terminal, such as a log."""
MIN_TEXT_CHARACTERS = 8
"""A text is never shortened below so many characters."""
GAP = "  "


def table(columns: Mapping[str, Sequence[object]], width: int | None = None) -> list[str]:
    """Return the lines of a table, headings first; `columns` are as long as each other.

    Numbers stand to the right, None is a dash, and a column without any value is left out. Where
    that is wider than `width` (default: the terminal's), long texts lose their middle.
    """
    shown = {
        heading: values
        for heading, values in columns.items()
        if not values or any(value is not None for value in values)
    }
    texts = [any(isinstance(value, str) for value in values) for values in shown.values()]
    cells = [
        [heading, *_cells(values)] for heading, values in shown.items()
    ]  # by column, heading first
    widths = [max(map(len, column)) for column in cells]
    room = shutil.get_terminal_size((WIDTH, 0)).columns if width is None else width
    widths = _fitted(widths, texts, room - len(GAP) * (len(widths) - 1))
    lines = []
    for row in zip(*cells, strict=True):
        aligned = [
            _shortened(cell, size).ljust(size) if text else cell.rjust(size)
            for cell, size, text in zip(row, widths, texts, strict=True)
        ]
        lines.append(GAP.join(aligned).rstrip())
    return lines


def _cells(values: Sequence[object]) -> list[str]:
    """Return the values of a column as text; four decimals, unless all numbers are tiny."""
    numbers = [abs(value) for value in values if isinstance(value, float)]
    form = ".4f" if not numbers or max(numbers) >= 0.01 or max(numbers) == 0 else ".3g"
    return [
        "-" if value is None else format(value, form) if isinstance(value, float) else str(value)
        for value in values
    ]


def _fitted(widths: Sequence[int], texts: Sequence[bool], room: int) -> list[int]:
    """Return the widths with those of long texts cut, all to the same length, until they fit."""
    most = max((width for width, text in zip(widths, texts, strict=True) if text), default=0)
    for limit in range(most, MIN_TEXT_CHARACTERS - 1, -1):
        cut = [
            min(width, limit) if text else width for width, text in zip(widths, texts, strict=True)
        ]
        if sum(cut) <= room:
            return cut
    return [
        min(width, MIN_TEXT_CHARACTERS) if text else width
        for width, text in zip(widths, texts, strict=True)
    ]


def _shortened(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    end = (length - 1) // 2
    return f"{text[: length - 1 - end]}…{text[len(text) - end :]}"


def print_line(text: str) -> None:
    """Print a line with its end at once, for `print` lets another thread's line come between."""
    print(f"{text}\n", end="", flush=True)
