"""The report of a search: one HTML page that needs no other file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emrl_ray.config.search_space import ChoiceDomain, SearchDomain
from emrl_ray.crystals.counts import duration
from emrl_ray.experiments.tuning.results import Search
from emrl_ray.experiments.tuning.trial_store import Trial, TrialState
from emrl_ray.reports.benchmark.page import STYLE
from emrl_ray.reports.markup import (
    counted,
    document,
    facts,
    figure,
    paragraph,
    plain,
    section,
    table,
    text,
)
from emrl_ray.reports.tuning.figures import (
    courses_svg,
    errors_svg,
    importance_svg,
    more_errors_svg,
    parallel_svg,
    scored,
)

FIRST = "margin"
"""The option that is shown first and by itself."""
OWN_STYLE = """
.scroll { overflow-x: auto; } caption { color: #444; text-align: left; padding: .5rem 0; }
dl.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: .6rem 1.2rem; }
dl.facts div { border-top: 1px solid #ddd; padding-top: .3rem; }
dt { color: #555; font-size: .85rem; } dd { margin: 0; overflow-wrap: anywhere; }
figure { flex: none; margin: 1rem 0; max-width: 60rem; }
"""
STATES = {
    TrialState.FINISHED: "trained for all epochs",
    TrialState.STOPPED: "were stopped, being worse than others at the same epoch",
    TrialState.FAILED: "failed",
}


def search_page(search: Search, manifest: Mapping[str, Any]) -> str:
    """Return the page of a search and of its manifest.

    Raises ImportError, with the line that installs it, without matplotlib.
    """
    title = f"Search for {search.config.target}"
    drawn = _figures(search) if search.best is not None else []
    parts = [
        f"<h1>{text(title)}</h1>",
        paragraph(_summary(search)),
        _best(search),
        *drawn,
        section("trials", "Trials", _trials(search)),
        _conditions(search, manifest),
    ]
    return document(title, STYLE + OWN_STYLE, filter(None, parts))


def _summary(search: Search) -> str:
    numbers = {state: sum(trial.state == state for trial in search.trials) for state in STATES}
    words = [f"{numbers[state]} {how}" for state, how in STATES.items() if numbers[state]]
    return f"{counted(len(search.trials), 'trial')}: {', '.join(words)}."


def _best(search: Search) -> str:
    best = search.best
    if best is None:
        words = f"All trials failed, the first one: {search.first_failure or ''}"
        return section("best", "Best trial", paragraph(words))
    entries = [("trial", best.number), ("validation MAE", _error(best, search))]
    entries += [(name.replace("_", " "), _value(value)) for name, value in best.values.items()]
    words = (
        f"The error is that of a {search.config.head} head on {search.rows['validation']:,} rows which "
        f"neither network nor head learned from. As the least of {len(search.trials)} it is too "
        "hopeful: what the test rows say of the trained model, which no trial saw, is the figure to quote."
    )
    advice = "Train it with: emrl-ray train --config best.yaml --out MODEL"
    return section("best", "Best trial", facts(entries), paragraph(words), paragraph(advice))


def _figures(search: Search) -> list[str]:
    names = list(search.config.space)
    first = FIRST if FIRST in names else names[0]
    others = [name for name in names if name != first]
    shown = counted(len(scored(search)), "trial")
    parts = [
        section(
            "margin" if first == FIRST else "error",
            f"{first.replace('_', ' ').capitalize()} and validation error",
            figure(
                errors_svg(search, first),
                f"Last validation MAE of {shown}. A trial that was stopped has the error it was "
                "stopped at. Errors above three times the best lie at the upper edge.",
            ),
        )
    ]
    if others:
        drawing = figure(more_errors_svg(search, others), "The same by the other options.")
        parts.append(section("options", "Other options", drawing))
    parts.append(
        section(
            "parallel",
            "Parallel coordinates",
            figure(parallel_svg(search), "A line is a trial; the thick one is the best."),
        )
    )
    if search.importances:
        parts.append(
            section(
                "importance",
                "Importance",
                figure(
                    importance_svg(search.importances),
                    "fANOVA: how much of the variance of the last validation error an option explains by "
                    "itself, as a share of what all of them do. Of few trials it is a hint, and trials that were stopped "
                    "count with the error they were stopped at.",
                ),
            )
        )
    courses = figure(
        courses_svg(search),
        "Validation MAE by epoch; black the best trial, dotted where trials were compared. With a one-cycle "
        "schedule the error falls most at the end, when the learning rate does.",
    )
    parts.append(section("courses", "Courses", courses))
    return parts


def _trials(search: Search) -> str:
    names = list(search.config.space)
    head = ["Trial", "State", "Epochs", "Validation MAE", *(n.replace("_", " ") for n in names)]
    any_failed = any(trial.reason for trial in search.trials)
    order = sorted(search.trials, key=lambda trial: _rank(trial, search.best))
    rows = [
        [
            trial.number,
            trial.state,
            trial.epoch,
            _error(trial, search),
            *(_value(trial.values[name]) for name in names),
            f"{trial.seconds:.0f} s",
            *([trial.reason or ""] if any_failed else []),
        ]
        for trial in order
    ]
    caption = "The best trial first, then by validation error; those that failed come last."
    return table(caption, [*head, "Time", *(["Reason"] if any_failed else [])], rows)


def _rank(trial: Trial, best: Trial | None) -> tuple[bool, bool, float]:
    failed = trial.state == TrialState.FAILED
    return trial != best, failed, trial.mae if trial.mae is not None else float("inf")


def _conditions(search: Search, manifest: Mapping[str, Any]) -> str:
    config, rows = search.config, search.rows
    entries: list[tuple[str, object]] = [
        ("crystals", config.crystals),
        ("rows learned", f"{rows['learned']:,}"),
        ("rows validated", f"{rows['validation']:,}"),
        ("rows no trial saw", f"{rows['calibration'] + rows['test']:,}"),
        ("split", config.split),
        ("seed", config.seed),
        ("most epochs", config.epochs),
        ("compared from epoch", config.grace),
        ("one goes on of", config.reduction),
        ("trials in all, with their starts", duration(manifest["seconds"]["trials"])),
        ("machine", plain(manifest["machine"])),
        ("versions", plain(manifest["versions"])),
    ]
    spaces = [(name, _domain(domain)) for name, domain in config.domains.items()]
    return section(
        "conditions",
        "Conditions",
        facts(entries),
        table("What was searched, or set.", ["Option", "Values"], spaces),
    )


def _domain(domain: SearchDomain) -> str:
    if isinstance(domain, ChoiceDomain):
        return ", ".join(_value(value) for value in domain.values)
    scale = ", logarithmic" if domain.log else ""
    return f"{_value(domain.low)} to {_value(domain.high)}{scale}"


def _error(trial: Trial, search: Search) -> str:
    if trial.mae is None:
        return "-"
    return f"{trial.mae:.4f}{f' {search.unit}' if search.unit else ''}"


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
