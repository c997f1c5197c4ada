"""A run's folder as a screen leaves it, made of small tables: for tests of what reads it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa

from emrl_ray.crystals.schema import GEOMETRY, Reject, RejectReason, Stage, rejects_table
from emrl_ray.io.atomic import write_json
from emrl_ray.io.fingerprints import folder_fingerprint
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import read_json, resolve
from emrl_ray.model.uncertainty import ConformalCalibration
from emrl_ray.reports.screening.page import write_report
from tests.support.html_page import Page
from tests.support.models import TARGET, make_model, random_crystals

NASTY = ("<script>alert(1)</script>", 'a"b&amp;<i>', "'); x", "ä–x y")
"""Ids that a page must show as they are."""
REASONS = (None, "unseen_element U", "unseen_pair Pb-O", "pair_distance Pb-O 2.31", None)
ROWS, TOP = 200, 120
"""Of the run and of its shortlist."""
LOW, HIGH = 8.0, 12.0
"""The window of the run."""
SECOND_HIGH = 14.0
"""The most of the second objective's target."""
UNIT = {b"unit": b"angstrom^3"}


def predictions(rows: int = 200) -> pa.Table:
    """Return predictions with all columns that a screen may write, of as many random crystals."""
    random = np.random.default_rng(0)
    crystals = random_crystals(rows, 5, "lib")
    values = random.normal(10, 3, rows)
    reasons = [REASONS[row % len(REASONS)] for row in range(rows)]
    columns = {
        "id": [*NASTY, *crystals.column("id").to_pylist()[len(NASTY) :]],
        "formula": ["<b>Pb</b>2O", *crystals.column("formula").to_pylist()[1:]],
        "prediction": values,
        "lower": values - 1.5,
        "upper": values + 1.5,
        "p_in_window": np.clip(1 - np.abs(values - 10) / 4, 0, 1),
        "in_domain": [reason is None for reason in reasons],
        "domain_reason": pa.array(reasons, pa.string()),
        "nearest_id": [f"known<{row}>" for row in range(rows)],
        "nearest_formula": ["PbO"] * rows,
        "nearest_target": random.normal(10, 3, rows),
        "nearest_distance": random.random(rows),
        "known_id": pa.array([f"mp-{row}" if row % 50 == 0 else None for row in range(rows)]),
        "map_x": pa.array(random.normal(size=rows), pa.float32()),
        "map_y": pa.array(random.normal(size=rows), pa.float32()),
    }
    table = pa.table(columns)
    fields = [
        field.with_metadata(UNIT) if field.name in ("prediction", "lower", "upper") else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))


def best(rows: pa.Table, top: int) -> pa.Table:
    """Return the `top` rows most likely in the window as a shortlist with structures."""
    order = np.argsort(-rows.column("p_in_window").to_numpy(), kind="stable")[:top]
    crystals = random_crystals(rows.num_rows, 5).take(order)
    found = rows.take(order).add_column(0, "rank", pa.array(np.arange(1, top + 1)))
    doubles = [["twin<1>", "twin<2>"] if row == 0 else [] for row in range(top)]
    found = found.append_column("duplicates", pa.array(doubles, pa.list_(pa.string())))
    for name in GEOMETRY:
        found = found.append_column(crystals.schema.field(name), crystals.column(name))
    return found


REJECTS = [
    Reject("bad <1>", "lib", Stage.VALIDATE, RejectReason.BAD_CELL, "volume 0"),
    Reject("bad 2", "lib", Stage.VALIDATE, RejectReason.BAD_CELL, "volume 0"),
    Reject("bad 3", "lib", Stage.PREDICT, RejectReason.NO_PAIRS, "no two atoms"),
]


def write_run(
    folder: Path, rows: pa.Table, shortlist: pa.Table, manifest: dict, files: int = 3
) -> str:
    """Write a run's folder, its predictions in so many files, and return its path."""
    place = resolve(folder)
    edges = np.linspace(0, rows.num_rows, files + 1).astype(int)
    for number, first in enumerate(edges[:-1]):
        part = rows.slice(first, edges[number + 1] - first)
        write_parquet(part, place / "predictions" / f"slice-{number:06d}.parquet")
    write_parquet(rejects_table(REJECTS), place / "rejects" / "slice-000000.parquet")
    write_parquet(shortlist, place / "shortlist.parquet")
    write_json(manifest, place / "manifest.json")
    return str(folder)


def run_with_report(folder: Path) -> str:
    """Write a model with a map and held-out rows, a run of it and its report; return the run."""
    model = make_model(folder / "model")
    with_map_and_held_out(model)
    rows = predictions(ROWS)
    run = write_run(folder / "run", rows, best(rows, TOP), manifest_of(model, ROWS, TOP))
    assert write_report(run) == f"{run}/report.html"
    return run


def two_objectives(run: Path, folder: Path) -> str:
    """Make a second model in `folder` and a run of one model a run of both; return the second model.

    Both models have the target of the first. Supply columns are added too, so the table is wide.
    """
    manifest = read_json(resolve(run) / "manifest.json")
    first = manifest["config"]["model"]
    second = str(shutil.copytree(first, folder / "second"))
    for place in [*(run / "predictions").iterdir(), run / "shortlist.parquet"]:
        write_parquet(_with_second(read_table(place)), resolve(place))
    shortlist = read_table(run / "shortlist.parquet")
    shortlist = shortlist.append_column("cost_per_kg", pa.array([12345.0] * shortlist.num_rows))
    hazards = pa.array(["Cr restricted, U radioactive"] * shortlist.num_rows)
    replace_shortlist(run, shortlist.append_column("hazards", hazards))
    card = {"target": TARGET, "unit": "angstrom^3"}
    change(
        run,
        config={**manifest["config"], "objectives": [{"model": second, "head": "boosted"}]},
        fingerprints={**manifest["fingerprints"], "model2": folder_fingerprint(second)},
        objectives=[
            {"model": first, "window": f"{LOW}:{HIGH}", **card},
            {"model": second, "window": f":{SECOND_HIGH}", **card},
        ],
    )
    return second


def _with_second(rows: pa.Table) -> pa.Table:
    """Return predictions with those of a second model, in whose domain every tenth row is not."""
    inside = [not name.endswith("0>") for name in rows.column("nearest_id").to_pylist()]
    values = rows.column("prediction").to_numpy() + 1
    columns = {
        "prediction_2": values,
        "lower_2": values - 2,
        "upper_2": values + 2,
        "p_in_window_2": np.full(rows.num_rows, 0.25),
        "in_domain_2": inside,
        "domain_reason_2": pa.array([None if found else "atoms 40" for found in inside]),
        "p_all": 0.25 * rows.column("p_in_window").to_numpy(),
    }
    for name, column in columns.items():
        rows = rows.append_column(name, pa.array(column))
    return rows


def manifest_of(model: str, rows: int, top: int) -> dict:
    """Return the manifest of a run with a funnel."""
    return {
        "format": 1,
        "date": "2026-05-04T03:02:00+00:00",
        "config": {
            "model": model,
            "crystals": "somewhere/candidates & more.parquet",
            "target_window": f"{LOW}:{HIGH}",
            "exclude_elements": ["Hg"],
            "top": top,
        },
        "fingerprints": {"model": folder_fingerprint(model)},
        "counts": {"rows_in": rows + len(REJECTS), "predicted": rows, "shortlisted": top},
        "funnel": [
            {"step": "read <all>", "rows": rows + len(REJECTS)},
            {"step": "predicted", "rows": rows},
            {"step": "on the shortlist", "rows": top},
        ],
        "seconds": {"predict": 61.5, "rank": 1.0},
        "versions": {"python": "3.11.7", "emrl-ray": "0.1.0"},
        "machine": {"processor": "an <old> one", "cpus": 2},
        "cost": {"USD": 1.25},
    }


def with_map_and_held_out(model: str) -> None:
    """Give a model folder places of its reference rows on a map, and held-out predictions.

    The calibration of its best head becomes that of these predictions.
    """
    random = np.random.default_rng(1)
    reference = read_table(f"{model}/reference.parquet")
    for name in ("map_x", "map_y"):
        if name in reference.column_names:
            reference = reference.drop_columns(name)
        places = pa.array(random.normal(size=reference.num_rows), pa.float32())
        reference = reference.append_column(name, places)
    write_parquet(reference, resolve(model) / "reference.parquet")
    target = random.normal(10, 3, 90)
    prediction = target + random.normal(0, 1, 90)
    held_out = {
        "id": [f"h{row}" for row in range(90)],
        "part": ["calibration"] * 40 + ["test"] * 50,
        "target": target,
        "prediction": prediction,
        "lower": prediction - 1.6,
        "upper": prediction + 1.6,
    }
    write_parquet(pa.table(held_out), resolve(model) / "held_out.parquet")
    best_head = read_json(resolve(model) / "card.json")["best_head"]
    calibrations = read_json(resolve(model) / "calibration.json")
    calibrations[best_head] = ConformalCalibration((target - prediction)[:40]).to_json()
    write_json(calibrations, resolve(model) / "calibration.json")


def read_page(run: str | Path) -> Page:
    """Return the page of a run as it stands."""
    return Page(Path(run, "report.html").read_text())


def page_of(folder: Path) -> Page:
    """Write the page of a run and return it."""
    return read_page(Path(write_report(str(folder))).parent)


def change(folder: Path, **entries) -> None:
    """Replace entries of a run's manifest; None takes one away."""
    manifest = read_json(resolve(folder) / "manifest.json") | entries
    kept = {name: value for name, value in manifest.items() if value is not None}
    write_json(kept, resolve(folder) / "manifest.json")


def replace_shortlist(folder: Path, rows: pa.Table) -> None:
    """Write another shortlist in place of a run's."""
    write_parquet(rows, resolve(folder) / "shortlist.parquet")
