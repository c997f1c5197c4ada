"""How the figures of docs/ look, and how they are written."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

THEIRS, OURS = ("#8c8c8c", "#b5b5b5", "#d4d4d4"), ("#1f6f8b", "#56a3bd", "#a3d0df")
ACCENT = "#c0582b"
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "emrl_ray",  # the same results give the same file
}


def save(figure: Figure, file: Path) -> None:
    """Write a figure, the same bytes for the same figure."""
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
