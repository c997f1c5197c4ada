"""What a network that learned something else is worth: learning curves from the results of transfer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from emrl_ray.experiments.benchmark.transfer import HEADS_COMPARED, STARTS
from emrl_ray.io.atomic import write_bytes
from emrl_ray.io.paths import Location, list_files, names_in, read_json, resolve
from emrl_ray.reports.svg import style, svg

FOLDER = "transfer"
COLORS = {"scratch": "#555555", "frozen": "#c2571a", "tuned": "#1b5e9b"}
MARKERS = {"scratch": "o", "frozen": "s", "tuned": "^"}
HEAD_NAMES = {"linear": "EMRL-LR", "boosted": "EMRL-GB"}
PREFACE = """# Transfer

Test MAE of EMRL on a random fifth of a data set, trained on a share of the other rows: from scratch; on the
embeddings of a network that was trained on another data set or property only (frozen); and with training going on from that
network (tuned). Every network takes the same number of steps. Mean and standard deviation over the splits."""


class Point(NamedTuple):
    """The errors of one start, head and share."""

    maes: list[float]
    """Of each split."""
    rows: int
    """Crystals trained on."""
    unit: str


Curves = Mapping[tuple[str, str, float], Point]
"""By start, head and share."""


def write_transfer(results: str, out: str) -> None:
    """Write transfer.md and a figure for each pair of data sets, from the results below a folder.

    Raises ImportError, with the line that installs it, without matplotlib.
    """
    place, folder = resolve(results) / FOLDER, resolve(out)
    parts = [PREFACE]
    for pair in sorted(names_in(place)):
        curves = _read(place / pair)
        if not curves:  # its trainings failed
            continue
        write_bytes(_figure(pair, curves).encode(), folder / f"transfer-{pair}.svg")
        title = pair.replace("-to-", " to ")
        parts += [f"## {title}", f"![MAE by share of the training rows](transfer-{pair}.svg)"]
        parts.append(_table(curves))
    write_bytes(("\n\n".join(parts) + "\n").encode(), folder / "transfer.md")


def _read(folder: Location) -> Curves:
    points: dict[tuple[str, str, float], Point] = {}
    for start in STARTS:
        for head in HEADS_COMPARED:
            for file in list_files(folder / f"{start}-{head}", ".json"):
                found = read_json(file)
                empty = Point([], found["n_train"], found["unit"] or "")
                point = points.setdefault((start, head, found["share"]), empty)
                point.maes.append(found["mae"])
    return points


def _table(curves: Curves) -> str:
    columns = [(start, head) for head in HEADS_COMPARED for start in STARTS]
    unit = next(iter(curves.values())).unit
    head = ["share", "rows", *(f"{HEAD_NAMES[head]}, {start}" for start, head in columns)]
    lines = [head, ["---"] * len(head)]
    for share in _shares(curves):
        points = [curves.get((start, head, share)) for start, head in columns]
        rows = next(str(point.rows) for point in points if point)
        lines.append([f"{share:.0%}", rows, *(_cell(point) for point in points)])
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{text}\n\nMAE in {unit}; in brackets the splits." if unit else text


def _cell(point: Point | None) -> str:
    if point is None:
        return ""
    mean, spread = _mean(point.maes)
    return f"{mean:.3f} ± {spread:.3f} ({len(point.maes)})"


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard deviation (0 for one value)."""
    return fmean(values), stdev(values) if len(values) > 1 else 0.0


def _shares(curves: Curves) -> list[float]:
    return sorted({share for _, _, share in curves})


def _figure(pair: str, curves: Curves) -> str:
    with style():
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator

        figure = Figure(figsize=(7.5, 3.0), layout="constrained")
        panels = figure.subplots(1, len(HEADS_COMPARED), sharey=True)
        for axes, head in zip(panels, HEADS_COMPARED, strict=True):
            for start in STARTS:
                found = [(share, curves.get((start, head, share))) for share in _shares(curves)]
                points = [(share, *_mean(point.maes)) for share, point in found if point]
                if points:
                    shares, means, spreads = zip(*points, strict=True)
                    axes.errorbar(
                        [100 * share for share in shares],
                        means,
                        yerr=spreads,
                        color=COLORS[start],
                        marker=MARKERS[start],
                        markersize=4,
                        capsize=2.5,
                        label=start,
                    )
            axes.set_xscale("log")
            axes.set_xticks([100 * share for share in _shares(curves)], minor=False)
            axes.set_yscale("log")  # a regressor on too few rows may err by tens of times
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.minorticks_off()
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} %")
            axes.set_title(HEAD_NAMES[head], loc="left", fontsize="medium")
            axes.set_xlabel("share of the training rows")
            axes.grid(color="#dddddd", linewidth=0.6)
        unit = next(iter(curves.values())).unit
        panels[0].set_ylabel(f"test MAE, {unit}" if unit else "test MAE")
        panels[-1].legend(frameon=False)
        return svg(figure, f"transfer-{pair}")
