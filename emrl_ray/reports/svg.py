"""Figures as SVG elements of a page, the same bytes for the same figure."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from emrl_ray.io.runtime import need_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE: Any = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "svg.fonttype": "none",  # text that can be searched and read aloud, and a tenth of the bytes
    "svg.hashsalt": "emrl-ray",  # the same results give the same file
}
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@contextmanager
def style() -> Iterator[None]:
    """Draw in the style of the reports; ImportError, with what installs it, without matplotlib."""
    need_extra("matplotlib", extra="report")
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        yield


def svg(figure: Figure, name: str) -> str:
    """Return a figure as an element of a page; `name` keeps its ids apart from other figures'."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=NO_METADATA)
    text = buffer.getvalue()
    prefix = re.sub(r"\W", "-", name)
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text[text.index("<svg") :])
