"""The page of a map: one self-contained file to look around in, the models side by side."""

from __future__ import annotations

import html
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from emrl_ray.reports.embedding_map.colorings import NO_VALUE, Categories, ColorScale
from emrl_ray.reports.embedding_map.figure import Panel

PANEL, KEY, TOP, MARGIN = 460, 240, 110, 30
"""Size of a panel, width of the keys, height of what is above, and margins; pixels."""
GAP = 20
"""Between panels, pixels."""


def page(
    title: str,
    panels: Sequence[Panel],
    colorings: Sequence[ColorScale | Categories],
    hover: Sequence[Sequence[str]],
) -> str:
    """Return the HTML page of one or more panels; a menu chooses the colouring.

    `hover` are the lines, N each, that show what is under the pointer.
    """
    from plotly.subplots import make_subplots

    wide = len(panels) * (PANEL + GAP) - GAP
    figure = make_subplots(
        cols=len(panels),
        horizontal_spacing=GAP / wide,
        subplot_titles=[
            f"<b>{html.escape(panel.title)}</b><br><sub>{html.escape(panel.subtitle)}</sub>"
            for panel in panels
        ],
    )
    texts = ["<br>".join(map(html.escape, lines)) for lines in zip(*hover, strict=True)]
    groups = [_traces(panels, coloring, texts) for coloring in colorings]
    for number, group in enumerate(groups):
        for column, trace in group:
            figure.add_trace(trace.update(visible=number == 0), row=1, col=column + 1)
    for column, panel in enumerate(panels):
        x, y = panel.limits
        axis: dict[str, Any] = {
            "showticklabels": False,
            "showgrid": False,
            "zeroline": False,
            "showline": True,
        }
        axis |= {"mirror": True, "linecolor": "#666666"}
        figure.update_xaxes(range=x, title="t-SNE 1", **axis, row=1, col=column + 1)
        figure.update_yaxes(
            range=y, title="t-SNE 2" if column == 0 else None, **axis, row=1, col=column + 1
        )
    figure.update_layout(
        template="simple_white",
        width=wide + KEY + 2 * MARGIN,
        height=PANEL + TOP + 2 * MARGIN,
        margin={"l": MARGIN, "r": KEY + MARGIN, "t": TOP, "b": 2 * MARGIN},
        legend={"itemsizing": "constant", "tracegroupgap": 0, "x": 1.02, "y": 0.98},
        dragmode="pan",
        updatemenus=[_menu(colorings, [len(group) for group in groups])],
    )
    drawn = figure.to_html(
        full_html=False,
        include_plotlyjs=True,
        div_id="map",
        config={"displaylogo": False, "scrollZoom": True, "responsive": False},
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title></head>\n"
        f'<body style="font-family: sans-serif">\n<h1>{html.escape(title)}</h1>\n{drawn}\n'
        "</body></html>\n"
    )


def _traces(
    panels: Sequence[Panel], coloring: ColorScale | Categories, texts: Sequence[str]
) -> list[tuple[int, Any]]:
    """Return the traces of one colouring, each with the number of its panel."""
    return [
        (column, trace)
        for column, panel in enumerate(panels)
        for trace in (
            _of_kinds(panel, coloring, texts, first=column == 0)
            if isinstance(coloring, Categories)
            else [_of_scale(panel, coloring, texts, first=column == 0)]
        )
    ]


def _of_kinds(panel: Panel, kinds: Categories, texts: Sequence[str], *, first: bool) -> list[Any]:
    """Return a trace a kind; a click in the legend hides the kind in every panel."""
    traces = []
    for code, (name, color) in enumerate(zip(kinds.names, kinds.colors, strict=True)):
        rows = np.flatnonzero(kinds.codes == code)
        trace = _points(panel, rows, texts, {"color": color})
        label = html.escape(f"{name} ({len(rows):,})")
        title = {"text": html.escape(kinds.label)}
        trace.update(name=label, legendgroup=name, legendgrouptitle=title if not code else None)
        traces.append(trace.update(showlegend=first))
    return traces


def _of_scale(panel: Panel, scale: ColorScale, texts: Sequence[str], *, first: bool) -> Any:
    """Return the trace of a scale; the first panel's has the colour bar of all."""
    known = ~np.isnan(scale.values)
    marker: dict[str, Any] = {"colorscale": scale.colors, "cmin": scale.low, "cmax": scale.high}
    marker |= {"color": np.where(known, scale.values, scale.low), "showscale": first}
    marker["colorbar"] = {"title": {"text": html.escape(scale.label), "side": "right"}, "x": 1.01}
    if not known.all():
        marker["opacity"] = np.where(known, 0.9, 0.15)
        marker["line"] = {"color": NO_VALUE, "width": np.where(known, 0, 1)}
    return _points(panel, np.arange(len(texts)), texts, marker).update(showlegend=False)


def _points(panel: Panel, rows: np.ndarray, texts: Sequence[str], marker: dict[str, Any]) -> Any:
    from plotly.graph_objects import Scattergl

    x, y = panel.points[rows].T
    size = 6 if len(texts) < 3000 else 4
    return Scattergl(
        x=x.astype(np.float32),
        y=y.astype(np.float32),
        mode="markers",
        marker={"size": size, "opacity": 0.9} | marker,
        text=[texts[row] for row in rows],
        hovertemplate="%{text}<extra></extra>",
    )


def _menu(colorings: Sequence[ColorScale | Categories], sizes: Sequence[int]) -> dict[str, Any]:
    """Return the menu that shows the traces of one colouring and hides those of the others."""
    ends = list(accumulate(sizes))
    return {
        "buttons": [
            {
                "label": html.escape(coloring.label),
                "method": "restyle",
                "args": [{"visible": [end - size <= at < end for at in range(ends[-1])]}],
            }
            for coloring, size, end in zip(colorings, sizes, ends, strict=True)
        ],
        "x": 0,
        "xanchor": "left",
        "y": 1 + TOP / PANEL,
        "yanchor": "top",
    }
