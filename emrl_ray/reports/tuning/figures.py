"""Figures of a search as SVG: errors by option, parallel coordinates, importance, and courses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emrl_ray.config.search_space import ChoiceDomain, SearchDomain, Value
from emrl_ray.experiments.tuning.results import Search
from emrl_ray.experiments.tuning.trial_store import Trial, TrialState
from emrl_ray.reports.svg import style, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKS = {TrialState.FINISHED: ("o", "#1b5e9b"), TrialState.STOPPED: ("x", "#c2571a")}
"""Marker and colour of the trials that have an error."""
BEST = "#111111"
SCALE = "viridis_r"
PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6}
"""What lies behind a label, so that lines do not cross it."""
WIDE, PANEL, COLUMNS = 8.4, (2.8, 2.3), 3
"""Width of a whole figure, size of a panel (inches), and panels in a row."""
SPREAD = 0.05
"""Height that is added to the range of errors shown."""
WORST = 3.0
"""Errors above so many times the best are drawn at the edge: a trial that went astray hides no other."""


def scored(search: Search) -> list[Trial]:
    """Return the trials that have an error and did not fail."""
    return [trial for trial in search.trials if trial.state in MARKS and trial.mae is not None]


def errors_svg(search: Search, name: str) -> str:
    """Return the validation error of each trial by the value of one option."""
    return _errors(search, [name], f"error-by-{name}", size=(WIDE / 1.6, 3.2))


def more_errors_svg(search: Search, names: Sequence[str]) -> str:
    """Return the same for several options, a panel each."""
    rows = -(-len(names) // COLUMNS)
    columns = min(len(names), COLUMNS)
    return _errors(search, names, "errors", size=(PANEL[0] * columns, PANEL[1] * rows))


def _errors(search: Search, names: Sequence[str], title: str, size: tuple[float, float]) -> str:
    with style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=size, layout="constrained")
        columns = min(len(names), COLUMNS)
        grid = figure.subplots(-(-len(names) // columns), columns, squeeze=False, sharey=True)
        for axes in grid.flat[len(names) :]:
            axes.set_axis_off()
        for axes, name in zip(grid.flat, names, strict=False):
            _draw_errors(axes, search, name)
        for row in grid:
            row[0].set_ylabel(_error_label(search))
        figure.legend(
            *grid.flat[0].get_legend_handles_labels(),
            loc="outside upper right",
            ncols=3,
            frameon=False,
        )
        return svg(figure, title)


def _draw_errors(axes: Axes, search: Search, name: str) -> None:
    low, high = _error_range(search)
    places = _Places(search.config.space[name])
    for state, (marker, color) in MARKS.items():
        trials = [trial for trial in scored(search) if trial.state == state]
        axes.scatter(
            [places.of(trial.values[name]) for trial in trials],
            [_shown_error(trial, high) for trial in trials],
            marker=marker,
            color=color,
            s=26,
            linewidths=1.3,
            clip_on=False,
            label=str(state),
        )
    best = search.best
    assert best is not None
    axes.scatter(
        [places.of(best.values[name])],
        [_shown_error(best, high)],
        marker="o",
        facecolors="none",
        edgecolors=BEST,
        s=90,
        linewidths=1.4,
        label="best",
    )
    axes.set_ylim(low, high)
    places.mark(axes)
    axes.set_xlabel(name.replace("_", " "))
    axes.grid(color="#e6e6e6", linewidth=0.6)


class _Places:
    """Where the values of an option lie on an axis from 0 to 1."""

    def __init__(self, domain: SearchDomain) -> None:
        self.domain = domain
        self.log = not isinstance(domain, ChoiceDomain) and domain.log

    def of(self, value: Value) -> float:
        """Return the place of a value."""
        if isinstance(self.domain, ChoiceDomain):
            return (self.domain.values.index(value) + 0.5) / len(self.domain.values)
        low, high, here = (
            self._scaled(one) for one in (self.domain.low, self.domain.high, float(value))
        )
        return (here - low) / (high - low)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value

    def ticks(self) -> dict[float, str]:
        """Return labels by their places: all values of a choice, five numbers of a range."""
        if isinstance(self.domain, ChoiceDomain):
            return {self.of(value): f"{value}" for value in self.domain.values}
        low, high = self._scaled(self.domain.low), self._scaled(self.domain.high)
        shares = [step / 4 for step in range(5)]
        values = [low + share * (high - low) for share in shares]
        shown = [math.exp(value) if self.log else value for value in values]
        return {share: f"{value:.2g}" for share, value in zip(shares, shown, strict=True)}

    def mark(self, axes: Axes) -> None:
        """Label the horizontal axis."""
        marks = self.ticks()
        axes.set_xlim(-0.04, 1.04)
        axes.set_xticks(list(marks), list(marks.values()))


def parallel_svg(search: Search) -> str:
    """Return parallel coordinates: a line a trial through its values, coloured by its error."""
    with style():
        import matplotlib as mpl
        from matplotlib.cm import ScalarMappable
        from matplotlib.figure import Figure

        trials = sorted(scored(search), key=lambda trial: -_shown_error(trial))  # the best on top
        places = {name: _Places(domain) for name, domain in search.config.space.items()}
        low, high = _error_range(search)
        colors = mpl.colors.Normalize(low, high)
        scale = mpl.colormaps[SCALE]
        figure = Figure(figsize=(WIDE, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for trial in trials:
            course = [place.of(trial.values[name]) for name, place in places.items()]
            course.append((_shown_error(trial, high) - low) / (high - low))
            axes.plot(
                range(len(course)),
                course,
                color=scale(colors(_shown_error(trial, high))),
                linewidth=2.6 if trial == search.best else 1.1,
                alpha=1.0 if trial == search.best else 0.75,
            )
        for position, place in enumerate(places.values()):
            for at, label in place.ticks().items():
                axes.annotate(label, (position, at), (-3, 0), **_beside("right"))
        for share in (0.0, 0.5, 1.0):
            label = f"{low + share * (high - low):.3g}"
            axes.annotate(label, (len(places), share), (4, 0), **_beside("left"))
        names = [name.replace("_", " ") for name in places]
        axes.set_xticks(range(len(places) + 1), [*names, "validation MAE"])
        axes.set_yticks([])
        axes.set_xlim(-0.45, len(places) + 0.35)
        axes.spines[:].set_visible(False)
        axes.grid(axis="x", color="#888888", linewidth=0.9)
        figure.colorbar(
            ScalarMappable(colors, scale), ax=axes, label=_error_label(search), pad=0.01
        )
        return svg(figure, "parallel")


def _beside(side: str) -> dict[str, Any]:
    return {
        "textcoords": "offset points",
        "ha": side,
        "va": "center",
        "fontsize": "x-small",
        "bbox": PAPER,
    }


def importance_svg(importances: Mapping[str, float]) -> str:
    """Return the importance of each option as bars."""
    with style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(WIDE / 1.6, 0.32 * len(importances) + 0.8), layout="constrained")
        axes = figure.add_subplot()
        names = [name.replace("_", " ") for name in importances]
        bars = axes.barh(names, list(importances.values()), color=MARKS[TrialState.FINISHED][1])
        axes.bar_label(bars, [f"{share:.2f}" for share in importances.values()], padding=3)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.12)
        axes.set_xlabel("share of the variance of the error")
        axes.tick_params(axis="y", length=0)
        return svg(figure, "importance")


def courses_svg(search: Search) -> str:
    """Return the validation error of each trial by epoch, and where trials were compared."""
    with style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(WIDE / 1.3, 3.2), layout="constrained")
        axes = figure.add_subplot()
        for trial in search.trials:
            if trial.state in MARKS:
                epochs = [report["epoch"] for report in trial.reports]
                errors = [report["validation_mae"] for report in trial.reports]
                best = trial == search.best
                color = BEST if best else MARKS[trial.state][1]
                axes.plot(
                    epochs,
                    errors,
                    color=color,
                    linewidth=2 if best else 0.9,
                    marker=".",  # a trial that was stopped at its first report is a point
                    markersize=3,
                    alpha=1 if best else 0.7,
                )
        rung = search.config.grace
        while rung < search.config.epochs:
            axes.axvline(rung, color="#888888", linewidth=0.8, linestyle=":")
            rung *= search.config.reduction
        axes.set_ylim(*_course_range(search))
        axes.set_xlabel("epoch")
        axes.set_ylabel(_error_label(search))
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
        return svg(figure, "courses")


def _error_range(search: Search) -> tuple[float, float]:
    """Return the least and the largest last error that figures show, with some room."""
    return _shown_range([_shown_error(trial) for trial in scored(search)])


def _course_range(search: Search) -> tuple[float, float]:
    """Return the same of the errors at all validations."""
    return _shown_range(
        [report["validation_mae"] for trial in scored(search) for report in trial.reports]
    )


def _shown_range(errors: Sequence[float]) -> tuple[float, float]:
    low = min(errors)
    high = min(max(errors), WORST * low)
    room = SPREAD * (high - low) or SPREAD * abs(high) or 1.0
    return low - room, high + room


def _shown_error(trial: Trial, high: float = math.inf) -> float:
    """Return the error of a trial that has one, at most `high`."""
    assert trial.mae is not None
    return min(trial.mae, high)


def _error_label(search: Search) -> str:
    return f"validation MAE, {search.unit}" if search.unit else "validation MAE"
