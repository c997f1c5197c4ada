"""The shortlist as a table that can be sorted and searched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from emrl_ray.crystals.tables import GEOMETRY
from emrl_ray.reporting.run_page.cells import (
    Cell,
    Row,
    distance_cell,
    domain_cell,
    duplicates_cell,
    formula_cell,
    nearest_cell,
    number_cell,
    sort_key,
    text_cell,
    written,
)
from emrl_ray.reporting.run_page.interval_scale import IntervalScale
from emrl_ray.reporting.run_page.markup import NOTHING, paragraph, section, text
from emrl_ray.reporting.run_page.run_folder import Run
from emrl_ray.reporting.run_page.structure_picture import StructurePictures
from emrl_ray.screening.supply_risk import COST, HAZARDS

MOST_PICTURES = 100


class Column(NamedTuple):
    """A column of the table."""

    title: str
    kind: str
    """Its class in the style sheet."""
    cell: Callable[[Row], Cell]
    extra: str = ""
    """HTML in the head below the title."""


def shortlist_section(run: Run) -> str:
    """Return the table of the shortlist, its pictures, and how to read them."""
    rows = run.shortlist
    if rows.num_rows == 0:
        return section("shortlist", "The shortlist", paragraph("No candidate is on the shortlist."))
    pictures = _pictures(rows)
    columns = _columns(run, bool(pictures.drawn))
    shown = rows.select([name for name in rows.column_names if name not in GEOMETRY]).to_pylist()
    missing = _missing(rows)
    return section(
        "shortlist",
        f"The shortlist: {rows.num_rows:,} candidates",
        paragraph(_counts(run)),
        paragraph(missing, "note"),
        _tools(columns, len(shown)),
        pictures.definitions,
        _table(columns, shown, pictures.drawn),
        paragraph(_how_to_read(run, len(pictures.drawn)), "note"),
    )


class _Drawn(NamedTuple):
    drawn: Sequence[str]
    """A picture a row, for the first rows."""
    definitions: str


def _pictures(rows: pa.Table) -> _Drawn:
    if not set(GEOMETRY) <= set(rows.column_names):
        return _Drawn([], "")
    draw = StructurePictures()
    first = rows.slice(0, MOST_PICTURES)
    named = [name for name in ("id", "formula", *GEOMETRY) if name in rows.column_names]
    drawn = [
        ""
        if any(row[name] is None for name in GEOMETRY)
        else draw.draw(
            row["lattice"],
            row["atomic_numbers"],
            row["frac_coords"],
            row.get("formula") or row["id"],
        )
        for row in first.select(named).to_pylist()
    ]
    return _Drawn(drawn, draw.definitions())


def _columns(run: Run, pictured: bool) -> list[Column]:
    rows, unit = run.shortlist, f", {run.unit}" if run.unit else ""
    scale = IntervalScale.of(rows, run.window)
    decimals = scale.decimals
    columns = [
        Column("Rank", "rank", lambda row: number_cell(row, "rank", 0)),
        Column("Formula", "formula", formula_cell),
        Column("Id", "id", lambda row: text_cell(row, "id")),
        Column(
            f"Prediction{unit}", "prediction", lambda row: number_cell(row, "prediction", decimals)
        ),
    ]
    if _any(rows, "lower"):
        title = f"{100 * run.confidence:g} % interval{unit}"
        cell = lambda row: Cell(scale.drawing(row), sort_key(row.get("lower")))  # noqa: E731
        columns.append(Column(title, "interval", cell, scale.axis()))
    if _any(rows, "p_in_window"):
        columns.append(Column("P in window", "p", lambda row: number_cell(row, "p_in_window", 3)))
    columns += _further(run)
    if _any(rows, "in_domain"):
        columns.append(Column("Domain", "domain", domain_cell))
    if _any(rows, "nearest_id"):
        columns += [
            Column("Nearest known crystal", "nearest", nearest_cell),
            Column(
                f"Its true value{unit}",
                "true",
                lambda row: number_cell(row, "nearest_target", decimals),
            ),
            Column("Its distance", "distance", distance_cell),
        ]
    if "known_id" in rows.column_names:
        columns.append(Column("Known as", "known", lambda row: text_cell(row, "known_id")))
    if "duplicates" in rows.column_names:
        columns.append(Column("Duplicates", "duplicates", duplicates_cell))
    if _any(rows, COST):
        cost = partial(number_cell, name=COST, decimals=0)
        columns.append(Column("Cost of the elements, USD/kg", "cost", cost))
    if HAZARDS in rows.column_names:
        columns.append(Column("Hazards", "hazards", partial(text_cell, name=HAZARDS)))
    return columns


def _further(run: Run) -> list[Column]:
    """Return the columns of further objectives, and of the probability that all are met."""
    columns = []
    for number, sought in enumerate(run.further, 2):
        name = f"{sought.target}{f', {sought.unit}' if sought.unit else ''}"
        columns += [
            Column(
                name[:1].upper() + name[1:],
                f"prediction{number}",
                partial(number_cell, name=f"prediction_{number}", decimals=3),
            ),
            Column(
                f"P of {sought.target}",
                f"p{number}",
                partial(number_cell, name=f"p_in_window_{number}", decimals=3),
            ),
        ]
    if columns:
        columns.append(Column("P of all", "pall", partial(number_cell, name="p_all", decimals=3)))
    return columns


def _any(rows: pa.Table, name: str) -> bool:
    """Return whether there is a value in a column."""
    return name in rows.column_names and rows.column(name).null_count < rows.num_rows


def _table(columns: Sequence[Column], rows: Sequence[Row], pictures: Sequence[str]) -> str:
    heads = [
        f'<th scope="col" role="columnheader" class="{column.kind}" '
        f'aria-sort="{"ascending" if column.kind == "rank" else "none"}">'
        f'<button type="button">{text(column.title)}</button>{column.extra}</th>'
        for column in columns
    ]
    if pictures:
        heads.insert(1, '<th scope="col" role="columnheader" class="picture">Unit cell</th>')
    body = "\n".join(
        _line(columns, row, pictures[index : index + 1] if pictures else None)
        for index, row in enumerate(rows)
    )
    return (
        '<div class="scroll"><table class="top" id="top" role="table"><caption class="unseen">'
        "The shortlist, best first; a click on a title sorts by it</caption>\n"
        f'<thead role="rowgroup"><tr role="row">{"".join(heads)}</tr></thead>\n'
        f'<tbody role="rowgroup">\n{body}\n</tbody></table></div>'
    )


def _line(columns: Sequence[Column], row: Row, picture: Sequence[str] | None) -> str:
    """Return a row; `picture` has one or none, and is None where there is no such column."""
    cells = [_cell(column, column.cell(row)) for column in columns]
    if picture is not None:
        drawn = (picture[0] if picture else "") or NOTHING
        cells.insert(1, f'<td role="cell" class="picture">{drawn}</td>')
    return f'<tr role="row">{"".join(cells)}</tr>'


def _cell(column: Column, cell: Cell) -> str:
    key = "" if cell.key is None else f' data-key="{text(written(cell.key))}"'
    name = f'class="{column.kind}" data-title="{text(column.title)}"{key}'
    if column.kind == "id":
        return f'<th scope="row" role="rowheader" {name}>{cell.shown}</th>'
    return f'<td role="cell" {name}>{cell.shown}</td>'


def _tools(columns: Sequence[Column], count: int) -> str:
    """Return search, order and length of the table; they show only where programs run."""
    options = "".join(
        f'<option value="{column.kind}">{text(column.title)}</option>' for column in columns
    )
    return (
        '<div class="tools" hidden><label>Search <input type="search" id="search" '
        'placeholder="formula, id, reason ..."></label>'
        f'<label class="narrow">Sort by <select id="order">{options}</select></label>'
        '<label class="narrow"><input type="checkbox" id="down"> descending</label>'
        '<label>Show <select id="length"><option>25</option><option>100</option>'
        f'<option value="{count}">all</option></select></label>'
        '<output id="found" for="search length"></output></div>'
    )


def _counts(run: Run) -> str:
    """Return how many rows are in domain, known and duplicated, in a sentence each."""
    rows, said = run.shortlist, []
    if _any(rows, "in_domain"):
        inside = pc.sum(rows.column("in_domain").cast(pa.int64())).as_py()
        said.append(f"{inside:,} of {rows.num_rows:,} are in the model's domain.")
    if _any(rows, "known_id"):
        known = rows.num_rows - rows.column("known_id").null_count
        said.append(
            f"{known:,} {'is a' if known == 1 else 'are'} known crystal{'s' * (known != 1)}."
        )
    if "duplicates" in rows.column_names:
        others = pc.sum(pc.list_value_length(rows.column("duplicates"))).as_py() or 0
        are = "candidate is a duplicate" if others == 1 else "candidates are duplicates"
        examined = (run.manifest.get("counts") or {}).get("examined")
        among = f" among the best {examined:,}, which were looked at" if examined else ""
        said.append(f"{others:,} further {are} of these{among}.")
    return " ".join(said)


def _missing(rows: pa.Table) -> str:
    """Return what this run does not tell, in a sentence; empty if it tells all."""
    kinds = {
        "lower": "intervals (its model has no calibration)",
        "in_domain": "whether candidates are in the model's domain",
        "nearest_id": "the nearest known crystals",
        "known_id": "which candidates are known crystals",
        "duplicates": "duplicates",
        "lattice": "the structures",
    }
    untold = [
        words
        for name, words in kinds.items()
        if name not in rows.column_names or (name in list(kinds)[:3] and not _any(rows, name))
    ]
    return f"This run does not tell: {', '.join(untold)}." if untold else ""


def _how_to_read(run: Run, pictures: int) -> str:
    said = []
    if _any(run.shortlist, "lower"):
        shade = "; the window is shaded" if run.window else ""
        said.append(f"All intervals are drawn on the scale above them{shade}.")
    if _any(run.shortlist, "nearest_id"):
        said.append(
            "The nearest known crystal is that of the training set nearest in embedding space; its "
            "distance has no unit and compares within this model alone."
        )
    if pictures and run.shortlist.num_rows > pictures:
        said.append(f"The first {pictures:,} rows have pictures.")
    said.append("The same rows are in shortlist.csv and shortlist.parquet beside this page.")
    return " ".join(said)
