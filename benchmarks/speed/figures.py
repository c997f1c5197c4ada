"""The figures of docs/performance.md, drawn from the results by matplotlib."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.common.drawing import ACCENT, OURS, STYLE, THEIRS, save

SAMPLES = {"hoip": "HOIP", "mpl": "MPL sample", "candidates": "candidates sample"}
STAGES = {
    "read a CIF": ("published: CIF → structure", "CIF → arrays"),
    "read a table": ("JSON → structure", "Parquet → table"),
    "find the pairs": ("published: neighbours", "pairs"),
    "write pair features": ("published: pair features", None),
    "embed (ours: and find)": ("published: embedding", "pairs and embedding"),
    "predict (head)": ("published: head", "head"),
    "training step": ("dense three passes", "emrl_ray shared"),
}
"""The usual way's name and ours of each stage in the results; ours embeds with the pair search."""


def draw_speed(content: dict[str, Any], file: Path) -> None:
    """Draw the whole path on each sample, and the stages on HOIP, on one core."""
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
        _draw_paths(left, content["one core"])
        _draw_stages(right, content["one core"]["hoip"])
        save(figure, file)


def _draw_paths(axes: Axes, timings: dict[str, Any]) -> None:
    samples = [name for name in SAMPLES if name in timings]
    ways = [name for name in timings["hoip"]["whole path"] if ": " not in name]
    ways.sort(key=lambda name: -timings["hoip"]["whole path"][name]["us_per_crystal"])
    theirs, ours = iter(THEIRS), iter(OURS)
    width = 0.85 / len(ways)
    for place, way in enumerate(ways):
        color = next(ours) if way.startswith("emrl_ray") else next(theirs)
        found = [timings[sample]["whole path"][way] for sample in samples]
        heights = [timing["us_per_crystal"] for timing in found]
        low = [timing["us_per_crystal"] - timing["min"] for timing in found]
        high = [timing["max"] - timing["us_per_crystal"] for timing in found]
        at = [index + (place - (len(ways) - 1) / 2) * width for index in range(len(samples))]
        bars = axes.bar(at, heights, 0.92 * width, color=color, label=way, yerr=[low, high])
        bars.errorbar.lines[2][0].set(linewidth=0.8, color="#444444")
    axes.set_xticks(range(len(samples)), [SAMPLES[sample] for sample in samples])
    axes.tick_params(axis="x", length=0)
    axes.set_yscale("log")
    axes.set_ylabel("µs a crystal, one core")
    axes.set_title("From a file to a prediction", loc="left")
    axes.grid(axis="y", color="#e6e6e6")
    lowest, highest = axes.get_ylim()
    axes.set_ylim(lowest, highest * 12)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper left")


def _draw_stages(axes: Axes, timings: dict[str, Any]) -> None:
    flat = {name: timing for group in timings.values() for name, timing in group.items()}
    for place, (theirs, ours) in enumerate(STAGES.values()):
        slow = flat[theirs]["us_per_crystal"]
        if ours is None:
            axes.plot(slow, place, "o", color=THEIRS[0])
            axes.annotate("never written", (slow, place), (-7, 0), **_beside("right"))
            continue
        fast = flat[ours]["us_per_crystal"]
        axes.plot([fast, slow], [place, place], color="#d9d9d9", linewidth=3, zorder=0)
        axes.plot(slow, place, "o", color=THEIRS[0], label="the usual way" if place == 0 else None)
        axes.plot(fast, place, "o", color=OURS[0], label="emrl_ray" if place == 0 else None)
        axes.annotate(f"{slow / fast:,.0f} ×", (slow, place), (7, 0), **_beside("left"))
    axes.set_yticks(range(len(STAGES)), list(STAGES))
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(STAGES) - 0.4, -0.8)
    axes.set_xscale("log")
    axes.set_xlim(right=axes.get_xlim()[1] * 4)
    axes.set_xlabel("µs a crystal, one core")
    axes.set_title("Stage by stage, HOIP", loc="left")
    axes.grid(axis="x", color="#e6e6e6")
    axes.legend(frameon=False, fontsize=8, loc="lower left")


def _beside(side: str) -> dict[str, Any]:
    return {"textcoords": "offset points", "ha": side, "va": "center", "fontsize": 8}


def draw_growth(content: dict[str, Any], file: Path) -> None:
    """Draw the cost against crystals, atoms, cutoff and known crystals."""
    panels = {
        "against_crystals": _draw_screens,
        "against_atoms": _draw_atoms,
        "against_cutoff": _draw_cutoffs,
        "against_references": _draw_references,
    }
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 2, figsize=(10, 6.4), layout="constrained")
        for place, (name, draw) in zip(axes.flat, panels.items(), strict=True):
            place.grid(color="#e6e6e6")
            if name in content:
                draw(place, content[name])
        save(figure, file)


def _draw_screens(axes: Axes, found: dict[str, Any]) -> None:
    for count, screens in found["screens"].items():
        seconds = [screen["wall_seconds"] for screen in screens]
        axes.plot([int(count)] * len(seconds), seconds, "o", color=OURS[0])
    slopes = found["us_per_further_crystal"]
    if slopes:
        most = max(map(int, found["screens"]))
        walls = [screen["wall_seconds"] for screen in found["screens"][str(most)]]
        slope = list(slopes.values())[-1]["wall"]
        counts = [most ** (step / 40) for step in range(20, 41)]
        line = [statistics.median(walls) - slope * (most - count) / 1e6 for count in counts]
        axes.plot(counts, line, color=OURS[1], zorder=0, label=f"{slope:.0f} µs a further crystal")
        axes.legend(frameon=False, fontsize=8)
    axes.set(xscale="log", yscale="log", xlabel="crystals", ylabel="s, whole screen, all cores")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.set_title("Screen", loc="left")


def _draw_atoms(axes: Axes, found: dict[str, Any]) -> None:
    rows = found["buckets"]
    atoms = [row["mean_atoms"] for row in rows]
    axes.plot(atoms, [row["us_per_crystal"] for row in rows], "o-", color=OURS[0])
    axes.set(xscale="log", yscale="log", xlabel="atoms", ylabel="µs a crystal, one core")
    power = f"time ∝ atoms^{found['exponent_of_atoms']:.2f} from 8 atoms on"
    axes.annotate(power, (0.04, 0.92), xycoords="axes fraction", fontsize=8)
    axes.set_title("Embedding, candidates", loc="left")


def _draw_cutoffs(axes: Axes, rows: list[dict[str, Any]]) -> None:
    cutoffs = [row["cutoff"] for row in rows]
    axes.plot(cutoffs, [row["us_per_crystal"] for row in rows], "o-", color=OURS[0])
    for row in rows:
        place = (row["cutoff"], row["us_per_crystal"])
        axes.annotate(f"{row['mean_pairs']:,.0f} pairs", place, (-6, 5), **_beside("right"))
    axes.set(xlabel="cutoff (Å)", ylabel="µs a crystal, one core")
    axes.set_ylim(0)
    axes.set_xlim(cutoffs[0] - 0.8)
    axes.set_title("Embedding, HOIP", loc="left")


def _draw_references(axes: Axes, rows: list[dict[str, Any]]) -> None:
    counts = [row["references"] for row in rows]
    for name, color in (
        ("matrix product", THEIRS[0]),
        ("evenly spread", ACCENT),
        ("embeddings", OURS[0]),
    ):
        times = [row[name]["us_per_crystal"] for row in rows]
        axes.plot(counts, times, "o-", color=color, label=name)
    axes.set(xscale="log", yscale="log", xlabel="known crystals", ylabel="µs a query, one core")
    axes.legend(frameon=False, fontsize=8)
    axes.set_title("Nearest known crystal", loc="left")
