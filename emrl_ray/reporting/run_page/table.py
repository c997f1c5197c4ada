"""The shortlist as a table that can be sorted and searched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from emrl_ray.crystals.tables import GEOMETRY
from emrl_ray.reporting.run_page.cells import Cell, Row, written
from emrl_ray.reporting.run_page.columns import Column, columns_of
from emrl_ray.reporting.run_page.markup import NOTHING, counted, paragraph, section, text
from emrl_ray.reporting.run_page.run_folder import Run
from emrl_ray.reporting.run_page.structure_picture import StructurePictures
from emrl_ray.reporting.run_page.table_words import count_words, how_to_read, missing_words

MOST_PICTURES = 100


def shortlist_section(run: Run) -> str:
    """Return the table of the shortlist, its pictures, and how to read them."""
    rows = run.shortlist
    if rows.num_rows == 0:
        return section("shortlist", "The shortlist", paragraph("No candidate is on the shortlist."))
    pictures = _pictures(rows)
    columns = columns_of(run)
    shown = rows.select([name for name in rows.column_names if name not in GEOMETRY]).to_pylist()
    missing = missing_words(rows)
    return section(
        "shortlist",
        f"The shortlist: {counted(rows.num_rows, 'candidate')}",
        paragraph(count_words(run)),
        paragraph(missing, "note"),
        _tools(columns, len(shown)),
        pictures.definitions,
        _table(columns, shown, pictures.drawn),
        paragraph(how_to_read(run, len(pictures.drawn)), "note"),
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
    scale = f' data-scale="{text(column.scale)}"' if column.scale else ""
    name = f'class="{column.kind}" data-title="{text(column.title)}"{key}{scale}'
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
