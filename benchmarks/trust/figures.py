"""The figures of docs/trust.md, drawn from the results by matplotlib."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt

from benchmarks.common.drawing import ACCENT, OURS, STYLE, THEIRS, save

RANKINGS = {"probability": OURS[0], "prediction alone": THEIRS[0]}
"""Rankings that are drawn, and their colours; the domain changes neither at this length."""


def draw_rejection(found: dict[str, Any], file: Path) -> None:
    """Draw the mean error of what is left when crystals are left out, a line for each seed."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
        for name, value in found.items():
            if not name.startswith("errors-"):
                continue
            curve = {float(share): error for share, error in value["mae_by_share_left_out"].items()}
            seed = int(name[7:])
            line = axes.plot(list(curve), list(curve.values()), "-", color=OURS[seed % 3])[0]
            line.set_label(f"seed {seed}")
            axes.axvline(value["outside"], color=OURS[seed % 3], linewidth=0.8, linestyle=":")
        axes.set(xlabel="share left out", ylabel="MAE of the others (eV/atom)")
        axes.set_ylim(0)
        axes.set_title("MPS-FE's models on MPL; dotted: all outside the domain", loc="left")
        axes.grid(color="#e6e6e6")
        axes.legend(frameon=False)
        save(figure, file)


def draw_shortlist(found: dict[str, Any], file: Path) -> None:
    """Draw the precision of each ranking against the length of the shortlist, seeds as a band."""
    seeds = [value for name, value in found.items() if name.isdigit()]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
        for way, color in RANKINGS.items():
            tops = list(seeds[0][way])
            shares = [[seed[way][top] for seed in seeds] for top in tops]
            at = [int(top) for top in tops]
            axes.plot(
                at, [statistics.mean(s) for s in shares], "o-", color=color, label=f"by {way}"
            )
            axes.fill_between(
                at,
                [min(s) for s in shares],
                [max(s) for s in shares],
                color=color,
                alpha=0.15,
                linewidth=0,
            )
        random = statistics.mean(seed["random"] for seed in seeds)
        axes.axhline(random, color=ACCENT, linewidth=1, label="at random")
        axes.set(
            xscale="log", xlabel="rows of the shortlist", ylabel="with a true gap of 1.0-1.7 eV"
        )
        axes.set_xticks(at, [str(top) for top in at], minor=False)
        axes.minorticks_off()
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_title("What a shortlist holds, MPL", loc="left")
        axes.grid(color="#e6e6e6")
        figure.legend(frameon=False, fontsize=8, ncols=3, loc="outside lower center")
        save(figure, file)
