"""Figures of the benchmark as SVG: errors beside the paper's, and learning curves."""

from __future__ import annotations

from typing import Any

import numpy as np

from emrl_ray.experiments.benchmark.comparison import Comparison, MethodScores
from emrl_ray.reports.svg import style, svg

OURS, PAPER = "#1b5e9b", "#c2571a"
WIDTH = 4.0
"""Inches, so that the text is as large as the page's own on a phone."""
ROW_HEIGHT = 0.34
CURVE_COLUMNS = 2


def errors_svg(comparison: Comparison) -> str:
    """Return a figure of each method's MAE and its sd, the paper's below it where there is one."""
    with style():
        from matplotlib.figure import Figure

        methods = comparison.methods
        figure = Figure(figsize=(WIDTH, ROW_HEIGHT * len(methods) + 1.0), layout="constrained")
        axes = figure.add_subplot()
        rows = np.arange(len(methods))
        axes.errorbar(
            [scores.mae.mean for scores in methods],
            rows - 0.12,
            xerr=[np.nan_to_num(scores.mae.sd) for scores in methods],
            **_marks("o", OURS),
            label="ours",
        )
        beside = [(row, scores.paper) for row, scores in enumerate(methods) if scores.paper]
        if beside:
            axes.errorbar(
                [paper.mae_mean for _, paper in beside],
                [row + 0.16 for row, _ in beside],
                xerr=[paper.mae_sd for _, paper in beside],
                **_marks("s", PAPER),
                markerfacecolor="white",
                label="paper",
            )
            figure.legend(loc="outside upper right", ncols=2, frameon=False)
        axes.set_yticks(rows, [scores.method for scores in methods])
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.set_xlabel(f"MAE, {comparison.unit}" if comparison.unit else "MAE")
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.tick_params(axis="y", length=0)
        return svg(figure, "errors-" + "-".join(comparison[:4]))


def learning_curves_svg(comparison: Comparison) -> str:
    """Return the training loss by epoch of one split a method; empty if no result has it.

    Methods that share a network share a panel. Losses of different kinds do not compare, so each
    panel has a scale of its own, from its smallest value to its largest.
    """
    curves = _curves(comparison.methods)
    if not curves:
        return ""
    with style():
        from matplotlib.figure import Figure

        n_rows = -(-len(curves) // CURVE_COLUMNS)
        figure = Figure(figsize=(WIDTH, 1.35 * n_rows + 0.3), layout="constrained")
        grid = figure.subplots(n_rows, CURVE_COLUMNS, squeeze=False)
        for axes in grid.flat[len(curves) :]:
            axes.set_axis_off()
        for axes, (curve, names) in zip(grid.flat, curves.items(), strict=False):
            axes.plot(np.arange(1, len(curve) + 1), curve, color=OURS, linewidth=1.1)
            axes.set_title("\n".join(_two_lines(names)), fontsize="small", loc="left")
            low, high = min(curve), max(curve)
            if low > 0:
                axes.set_yscale("log")
            axes.minorticks_off()
            axes.set_yticks([low, high] if high > low else [low], labels=None)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
        for axes in grid[-1]:
            axes.set_xlabel("epoch")
        return svg(figure, "curves-" + "-".join(comparison[:4]))


def _curves(methods: tuple[MethodScores, ...]) -> dict[tuple[float, ...], list[str]]:
    """Return the curve of each method's first seed that has one, with the methods that share it."""
    curves: dict[tuple[float, ...], list[str]] = {}
    for scores in methods:
        curve = next((one.learning_curve for one in scores.results if one.learning_curve), None)
        if curve:
            curves.setdefault(curve, []).append(scores.method)
    return curves


def _two_lines(names: list[str]) -> list[str]:
    """Return the names in two lines where there are more than two."""
    half = len(names) if len(names) < 3 else -(-len(names) // 2)
    return [", ".join(part) for part in (names[:half], names[half:]) if part]


def _marks(marker: str, color: str) -> dict[str, Any]:
    return {"fmt": marker, "color": color, "markersize": 5, "capsize": 2.5, "elinewidth": 1.2}
