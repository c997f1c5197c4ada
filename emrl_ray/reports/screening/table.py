"""The shortlist as a table that can be sorted and searched, and what is said above and below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from emrl_ray.crystals.schema import GEOMETRY, KNOWN_ID
from emrl_ray.reports.markup import NOTHING, counted, paragraph, section, text
from emrl_ray.reports.screening.cells import Cell, Row, written
from emrl_ray.reports.screening.columns import Column, columns_of, has_any
from emrl_ray.reports.screening.interval_scale import IntervalScale
from emrl_ray.reports.screening.run_folder import ScreeningRun
from emrl_ray.reports.screening.structure_picture import StructurePictures
from emrl_ray.screening.domain_counts import verdict
from emrl_ray.screening.supply_risk import COST, HAZARDS

MAX_PICTURES = 100
OF_COST = (
    "Cost is that of the pure elements by mass, at prices from Wolfram Alpha and Wikipedia, nearly all of "
    "September 2013 (pymatgen); fluorine's, 1,900 USD/kg, is that of the pure gas, and fluorides "
    "are made from cheaper compounds. How few countries supply the elements (Herfindahl-Hirschman "
    "index, Gaultois et al. 2013) is in shortlist.csv."
)
OF_HAZARDS = (
    "RoHS or radioactive: elements that EU directive 2011/65/EU restricts (Pb, Hg, Cd, Cr; of chromium "
    "the hexavalent alone, but any is named here), and those without a stable isotope. Other hazards "
    "are not looked for."
)


def shortlist_section(run: ScreeningRun) -> str:
    """Return the table of the shortlist, its pictures, and how to read them."""
    rows = run.shortlist
    if rows.num_rows == 0:
        return section("shortlist", "The shortlist", paragraph("No candidate is on the shortlist."))
    pictures = _pictures(rows)
    scales = [IntervalScale.of(rows, made.window, made.ending) for made in run.objectives]
    columns = columns_of(run, scales)
    shown = rows.select([name for name in rows.column_names if name not in GEOMETRY]).to_pylist()
    return section(
        "shortlist",
        f"The shortlist: {counted(rows.num_rows, 'candidate')}",
        paragraph(_counts(run)),
        paragraph(_missing(rows), "note"),
        _tools(columns, len(shown)),
        pictures.definitions,
        _table(columns, shown, pictures.drawn),
        paragraph(_how_to_read(run, scales, len(pictures.drawn)), "note"),
    )


class _Drawn(NamedTuple):
    drawn: Sequence[str]
    """A picture a row, for the first rows."""
    definitions: str


def _pictures(rows: pa.Table) -> _Drawn:
    if not set(GEOMETRY) <= set(rows.column_names):
        return _Drawn([], "")
    draw = StructurePictures()
    first = rows.slice(0, MAX_PICTURES)
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


def _counts(run: ScreeningRun) -> str:
    """Return how many rows are in domain, known and duplicated, in a sentence each."""
    rows, said = run.shortlist, []
    listed = rows.num_rows
    if any(has_any(rows, f"in_domain{ending}") for ending in run.endings):
        inside = int(verdict(rows, run.endings).inside.sum())
        whose = "the domain of every model" if len(run.endings) > 1 else "the model's domain"
        which = f"{inside:,} of {listed:,}" if inside else f"None of {listed:,}"
        said.append(f"{which} {'are' if inside > 1 else 'is'} in {whose}.")
    if has_any(rows, KNOWN_ID):
        known = listed - rows.column(KNOWN_ID).null_count
        said.append(f"{counted(known, 'is a known crystal', 'are known crystals')}.")
    if "duplicates" in rows.column_names:
        said.append(_duplicates(run))
    return " ".join(said)


def _duplicates(run: ScreeningRun) -> str:
    """Return how many candidates are the same crystal as one of the shortlist, and as another."""
    found = pc.sum(pc.list_value_length(run.shortlist.column("duplicates"))).as_py() or 0
    examined, repeated = run.counts.get("examined"), run.counts.get("repeated")
    among = f" among the best {examined:,}, which were looked at" if examined else ""
    if "duplicates" in run.counts:  # all ranked rows were compared, not only those looked at
        among, repeated = " among all ranked candidates", None
    if not found:
        said = f"No further candidate{among} is the same crystal as one of these."
    else:
        are = counted(
            found, "further candidate is a duplicate", "further candidates are duplicates"
        )
        said = f"{are} of these{among} (column Duplicates)."
    if (more := (repeated or 0) - found) > 0:
        are = counted(more, "more is a duplicate", "more are duplicates")
        said += f" {are} of candidates that are not on the shortlist."
    if cut := run.counts.get("duplicates_cut"):
        have = counted(cut, "row of these has", "rows of these have")
        said += f" {have} so many candidates for a duplicate that not all were compared."
    return said


def _missing(rows: pa.Table) -> str:
    """Return what this run does not tell, in a sentence; empty if it tells all."""
    kinds = {
        "lower": "intervals (its model has no calibration)",
        "in_domain": "whether candidates are in the model's domain",
        "nearest_id": "the nearest known crystals",
        KNOWN_ID: "which candidates are known crystals",
        "duplicates": "duplicates",
        "lattice": "the structures",
    }
    untold = [
        words
        for name, words in kinds.items()
        if name not in rows.column_names or (name in list(kinds)[:3] and not has_any(rows, name))
    ]
    return f"This run does not tell: {', '.join(untold)}." if untold else ""


def _how_to_read(run: ScreeningRun, scales: Sequence[IntervalScale], pictures: int) -> str:
    """Return what the columns mean, for `pictures` rows with a picture."""
    rows, said = run.shortlist, []
    if has_any(rows, "lower"):
        each = " of an objective" if run.several else ""
        said.append(
            f"All intervals{each} are drawn on the scale above them{_window_words(scales)}."
        )
    if has_any(rows, "nearest_id"):
        said.append(
            "The nearest known crystal is that of the training set nearest in embedding space"
            + (" of the first model" if run.several else "")
            + "; its distance has no unit and compares within this model alone."
        )
    if pictures and rows.num_rows > pictures:
        said.append(f"The first {pictures:,} rows have pictures.")
    if has_any(rows, COST):
        said.append(OF_COST)
    if HAZARDS in rows.column_names:
        said.append(OF_HAZARDS)
    said.append("The same rows are in shortlist.csv and shortlist.parquet beside this page.")
    return " ".join(said)


def _window_words(scales: Sequence[IntervalScale]) -> str:
    """Return how the windows are drawn, if there are any."""
    beyond = [bool(scale.beyond) for scale in scales if scale.window]
    said = "" if all(beyond) else "; the window is shaded"
    if any(beyond):
        said += "; where the window lies beyond the scale, a wedge points to it"
    return said
