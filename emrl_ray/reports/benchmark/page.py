"""The benchmark as one HTML page that needs no other file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from emrl_ray.experiments.benchmark.comparison import Comparison
from emrl_ray.reports.benchmark.figures import errors_svg, learning_curves_svg
from emrl_ray.reports.benchmark.text import PREFACE, Section, section
from emrl_ray.reports.markup import document

STYLE = """
:root { color-scheme: light; }
body { background: #fff; color: #1c1c1c; font: 16px/1.45 system-ui, sans-serif;
       margin: 0 auto; max-width: 72rem; padding: 0 1rem 3rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .7rem .3rem 0; text-align: left;
         white-space: nowrap; }
thead th { vertical-align: bottom; white-space: normal; }
tbody th { background: #fff; font-weight: 600; left: 0; position: sticky; }
.notes { color: #444; font-size: .9rem; padding-left: 1.1rem; }
.figures { display: flex; flex-wrap: wrap; gap: 1.5rem; }
figure { flex: 0 1 30rem; margin: 0; min-width: 0; width: 100%; }
figure svg { height: auto; max-width: 100%; }
figcaption { color: #444; font-size: .9rem; }
"""


def page(comparisons: Sequence[Comparison]) -> str:
    """Return the page. Raises ImportError, with the line that installs it, without matplotlib."""
    sections = [section(comparison) for comparison in comparisons]
    contents = " · ".join(f'<a href="#{_anchor(one)}">{escape(one.title)}</a>' for one in sections)
    parts = [
        "<h1>Benchmark</h1>",
        *(f"<p>{escape(line)}</p>" for line in PREFACE),
        f"<p>{contents}</p>",
        *map(_section, comparisons, sections),
    ]
    return document("Benchmark of emrl-ray", STYLE, parts)


def _section(comparison: Comparison, shown: Section) -> str:
    curves = learning_curves_svg(comparison)
    figures = _figure(
        errors_svg(comparison), f"MAE of each method, {shown.title}; bars are one sd."
    )
    if curves:
        figures += _figure(curves, "Training loss by epoch, one split a method.")
    notes = "".join(f"<li>{escape(note)}</li>" for note in shown.notes)
    return (
        f'<section id="{_anchor(shown)}">\n<h2>{escape(shown.title)}</h2>\n'
        f"<p>{escape(shown.intro)}</p>\n"
        f'<div class="table">{_table(shown)}</div>\n'
        f'<ul class="notes">{notes}</ul>\n'
        f'<div class="figures">\n{figures}</div>\n</section>'
    )


def _table(shown: Section) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in shown.head)
    rows = "\n".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for first, *cells in shown.rows
    )
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"


def _figure(svg: str, caption: str) -> str:
    return f"<figure>\n{svg}<figcaption>{escape(caption)}</figcaption>\n</figure>\n"


def _anchor(shown: Section) -> str:
    return escape(shown.anchor, quote=True)
