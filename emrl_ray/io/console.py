"""What people read: tables as wide as the terminal, numbers under numbers."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Mapping, Sequence

LOGGER = logging.getLogger("emrl_ray")
LOGGER.addHandler(logging.NullHandler())
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


class _Console(logging.Handler):
    """Writes what is logged to stdout, and what is `aside` to stderr: a line, whole and at once."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; an error of the stream, such as a closed pipe, is the caller's."""
        stream = sys.stderr if getattr(record, "aside", False) else sys.stdout
        stream.write(f"{record.getMessage()}\n")
        stream.flush()


def log(text: str, *, aside: bool = False) -> None:
    """Log what a command does, with level INFO; `aside` is what does not belong to its output."""
    LOGGER.info("%s", text, extra={"aside": aside})


def show_log() -> None:
    """Show on this terminal what is logged from now on; a call of Python shows nothing without it."""
    if not any(isinstance(handler, _Console) for handler in LOGGER.handlers):
        LOGGER.addHandler(_Console())
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
