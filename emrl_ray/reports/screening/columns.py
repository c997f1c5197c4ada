"""The columns of a shortlist's table: which there are, and what their cells show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import pyarrow as pa

from emrl_ray.crystals.schema import KNOWN_ID, float_column
from emrl_ray.reports.screening.cells import (
    Cell,
    Row,
    distance_cell,
    distance_decimals,
    domain_cell,
    duplicates_cell,
    formula_cell,
    nearest_cell,
    number_cell,
    sort_key,
    text_cell,
)
from emrl_ray.reports.screening.interval_scale import IntervalScale
from emrl_ray.reports.screening.reported_objectives import ReportedObjective, names
from emrl_ray.reports.screening.run_folder import ScreeningRun
from emrl_ray.screening.objectives import P_ALL, P_IN_WINDOW
from emrl_ray.screening.supply_risk import COST, HAZARDS


class Column(NamedTuple):
    """A column of the table."""

    title: str
    kind: str
    """Its class in the style sheet."""
    cell: Callable[[Row], Cell]
    extra: str = ""
    """HTML in the head below the title."""
    scale: str = ""
    """Ends of the scale on which its cells are drawn, if they are."""


def columns_of(run: ScreeningRun, scales: Sequence[IntervalScale]) -> list[Column]:
    """Return the columns for which a run has values, in their order; a scale for each objective."""
    rows = run.shortlist
    columns = [
        Column("Rank", "rank", partial(number_cell, name="rank", decimals=0)),
        Column("Formula", "formula", formula_cell),
        Column("Id", "id", partial(text_cell, name="id")),
    ]
    for name, made, scale in zip(names(run.objectives), run.objectives, scales, strict=True):
        columns += _of_objective(run, made, name if run.several else "", scale)
    if run.several:
        columns.append(Column("P of all", "pall", partial(number_cell, name=P_ALL, decimals=3)))
    models = {name: made.ending for name, made in run.models.items()}
    if any(has_any(rows, f"in_domain{ending}") for ending in models.values()):
        columns.append(Column("Domain", "domain", partial(domain_cell, models=models)))
    columns += _of_nearest(run, scales[0].decimals)
    if KNOWN_ID in rows.column_names:
        columns.append(Column("Known as", "known", partial(text_cell, name=KNOWN_ID)))
    if "duplicates" in rows.column_names:
        columns.append(Column("Duplicates", "duplicates", duplicates_cell))
    if has_any(rows, COST):
        cost = partial(number_cell, name=COST, decimals=0)
        columns.append(Column("Cost of the elements, USD/kg", "cost", cost))
    if HAZARDS in rows.column_names:
        hazards = partial(text_cell, name=HAZARDS)
        columns.append(Column("RoHS or radioactive", "hazards", hazards))
    return columns


def _of_objective(
    run: ScreeningRun, made: ReportedObjective, name: str, scale: IntervalScale
) -> Iterator[Column]:
    """Yield prediction, interval and probability of an objective; `name` is empty for the only one."""
    rows, unit = run.shortlist, f", {made.unit}" if made.unit else ""
    kind = f"{made.number + 1}" if made.number else ""
    prediction = partial(number_cell, name=f"prediction{made.ending}", decimals=scale.decimals)
    title = f"{name[:1].upper()}{name[1:]}" if name else "Prediction"
    yield Column(f"{title}{unit}", f"prediction{kind}", prediction)
    lower = f"lower{made.ending}"
    if has_any(rows, lower):
        cell = lambda row: Cell(scale.drawing(row), sort_key(row.get(lower)))  # noqa: E731
        of_name = f" of {name}" if name else ""
        title = f"{100 * run.confidence:g} % interval{of_name}{unit}"
        yield Column(title, f"interval{kind}", cell, scale.axis(), scale.words)
    p_name = f"{P_IN_WINDOW}{made.ending}"
    if has_any(rows, p_name):
        title = f"P of {name} {made.within}" if name else "P in window"
        yield Column(title, f"p{kind}", partial(number_cell, name=p_name, decimals=3))


def _of_nearest(run: ScreeningRun, decimals: int) -> Iterator[Column]:
    """Yield the columns of the nearest known crystal, which is the first model's."""
    rows, made = run.shortlist, run.first
    if not has_any(rows, "nearest_id"):
        return
    unit = f", {made.unit}" if made.unit else ""
    true = f"Its {made.target}{unit}" if run.several else f"Its true value{unit}"
    yield Column("Nearest known crystal", "nearest", nearest_cell)
    yield Column(true, "true", partial(number_cell, name="nearest_target", decimals=decimals))
    if has_any(rows, "nearest_distance"):
        distances = float_column(rows, "nearest_distance")
        cell = partial(distance_cell, decimals=distance_decimals(distances))
        yield Column("Its distance", "distance", cell)


def has_any(rows: pa.Table, name: str) -> bool:
    """Return whether there is a value in a column."""
    return name in rows.column_names and rows.column(name).null_count < rows.num_rows
