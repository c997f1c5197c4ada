"""The report of a screening run: one HTML page that needs no other file and no network."""

from __future__ import annotations

from importlib import resources

from emrl_ray.config import ReportConfig
from emrl_ray.crystals.storage import absolute, locate, write_bytes
from emrl_ray.reporting.run_page.library import (
    domain_section,
    map_section,
    predictions_section,
    rejects_section,
)
from emrl_ray.reporting.run_page.library_summary import summarize_library
from emrl_ray.reporting.run_page.markup import text
from emrl_ray.reporting.run_page.model import model_section
from emrl_ray.reporting.run_page.question import funnel_section, machine_section, question_section
from emrl_ray.reporting.run_page.run_folder import Run, read_run
from emrl_ray.reporting.run_page.table import shortlist_section

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

    Raises FileNotFoundError or ValueError, in one line, if there is no finished run or no such model.
    """
    place = write_report(config.run, config.model)
    print(f"report: {place}", flush=True)
    return place


def write_report(run: str, model: str | None = None) -> str:
    """Write report.html into the folder of a finished run and return its path or URI.

    `model` is the folder of the run's model where the manifest no longer names it. What an older run
    or model lacks is left out, and the page says so.
    """
    write_bytes(page(read_run(run, model)).encode(), locate(run) / PAGE)
    return f"{absolute(run).rstrip('/')}/{PAGE}"


def page(run: Run) -> str:
    """Return the page of a run; its predictions are read file by file."""
    library = summarize_library(run.predictions, run.window)
    links = "".join(f'<a href="#{anchor}">{name}</a>' for anchor, name in CONTENTS.items())
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<link rel="icon" href="data:,">',
        f"<title>Screening: {text(run.name)}</title>",
        f"<style>\n{_data('report.css')}</style>\n</head>\n<body>",
        f'<header><h1>Screening report <span class="run">{text(run.name)}</span></h1>',
        f'<nav aria-label="Sections">{links}</nav></header>\n<main>',
        question_section(run),
        funnel_section(run),
        shortlist_section(run),
        predictions_section(run, library),
        map_section(run, library),
        domain_section(library),
        rejects_section(run),
        model_section(run),
        machine_section(run),
        f"</main>\n<script>\n{_data('report.js')}</script>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _data(name: str) -> str:
    return (
        resources.files("emrl_ray.reporting.run_page").joinpath(f"data/{name}").read_text("utf-8")
    )
