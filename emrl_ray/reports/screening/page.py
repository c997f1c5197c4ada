"""The report of a screening run: one HTML page that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import NamedTuple

from emrl_ray.config import ReportConfig
from emrl_ray.io.atomic import write_bytes
from emrl_ray.io.console import log
from emrl_ray.io.paths import absolute_uri, resolve
from emrl_ray.reports.markup import document, text
from emrl_ray.reports.screening.domain import domain_section
from emrl_ray.reports.screening.funnel import funnel_section
from emrl_ray.reports.screening.library import map_section, predictions_section, rejects_section
from emrl_ray.reports.screening.machine import machine_section
from emrl_ray.reports.screening.model import model_section
from emrl_ray.reports.screening.question import problems, question_section
from emrl_ray.reports.screening.run_folder import ScreeningRun, read_run
from emrl_ray.reports.screening.table import shortlist_section
from emrl_ray.screening.statistics import LibrarySummary, summarize_library

PAGE = "report.html"
CONTENTS = {
    "question": "Question",
    "funnel": "Funnel",
    "shortlist": "Shortlist",
    "predictions": "Predictions",
    "map": "Map",
    "domain": "Domain",
    "rejects": "Rejects",
    "model": "Model",
    "machine": "Versions",
}
"""Sections of the page, in order, by their anchors."""


def report(config: ReportConfig) -> str:
    """Write the report of a finished run anew and return its path.

    What the page lacks for want of a model or of predictions is printed, a line each. Raises
    MissingFileError or UserError, in one line, if there is no finished run, a file of it is damaged,
    or the model named is none or another; the page that was there stays.
    """
    made = _write(config.run, config.model)
    for words in [*problems(made.run), *_rows_missing(made.run, made.library)]:
        log(f"report: {words}")
    log(f"report: {made.location}")
    return made.location


def write_report(run: str, model: str | None = None) -> str:
    """Write report.html into the folder of a finished run and return its path or URI.

    `model` is the folder of the run's first model where the manifest no longer names it. What an
    older run or model lacks is left out, and the page says so. Raises what `report` does.
    """
    return _write(run, model).location


class _Written(NamedTuple):
    """A page and what it was made of."""

    location: str
    run: ScreeningRun
    library: LibrarySummary | None


def _write(uri: str, model: str | None) -> _Written:
    run = read_run(uri, model)
    library = summarize_library(run.predictions, run.first.window, run.endings)
    write_bytes(page(run, library).encode(), resolve(uri) / PAGE)
    return _Written(f"{absolute_uri(uri).rstrip('/')}/{PAGE}", run, library)


def _rows_missing(run: ScreeningRun, library: LibrarySummary | None) -> Iterator[str]:
    """Yield that a run's files have not the rows that its manifest counts, in a sentence."""
    predicted, found = run.counts.get("predicted"), library.rows if library else 0
    if predicted is not None and predicted != found:
        yield f"predictions/ has {found:,} rows, the manifest counts {predicted:,}"


def page(run: ScreeningRun, library: LibrarySummary | None) -> str:
    """Return the page of a run with the counts of its predictions."""
    links = "".join(f'<a href="#{anchor}">{name}</a>' for anchor, name in CONTENTS.items())
    parts = [
        f'<header><h1>Screening report <span class="run">{text(run.name)}</span></h1>',
        f'<nav aria-label="Sections">{links}</nav></header>\n<main>',
        question_section(run),
        funnel_section(run),
        shortlist_section(run),
        predictions_section(run, library),
        map_section(run, library),
        domain_section(run, library),
        rejects_section(run),
        model_section(run),
        machine_section(run),
        f"</main>\n<script>\n{_data('report.js')}</script>",
    ]
    style = f"\n{_data('report.css')}"
    return document(f"Screening: {run.name}", style, parts, '<link rel="icon" href="data:,">')


def _data(name: str) -> str:
    return resources.files("emrl_ray.reports.screening").joinpath(f"data/{name}").read_text("utf-8")
