"""Maps: crystals on a plane, near each other where a model's embeddings of them are.

Models stand side by side over the same crystals: the embedding of EMRL, the last hidden layer of a
supervised network (SI Figure 1 of the paper), or anything else that is a model folder.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.config import MapConfig, UserError
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.counts import RowCounts, duration, summary_line
from emrl_ray.crystals.schema import (
    Reject,
    Stage,
    check_crystal_schema,
    rejects_table,
    target_columns,
)
from emrl_ray.crystals.units import column_metadata, number_field
from emrl_ray.crystals.validation import ValidationLimits, validate
from emrl_ray.features.pairs import reject_without_pairs
from emrl_ray.io.atomic import write_bytes, write_csv
from emrl_ray.io.console import log
from emrl_ray.io.parquet import ParquetTable, table_schema, write_parquet
from emrl_ray.io.paths import Location, absolute_uri, remove, resolve
from emrl_ray.io.runtime import available_cpus, limited_threads, need_extra
from emrl_ray.model import Model
from emrl_ray.reports.embedding_map.colorings import coloring
from emrl_ray.reports.embedding_map.figure import Panel, draw
from emrl_ray.reports.embedding_map.page import page
from emrl_ray.reports.embedding_map.rows import (
    TARGET,
    check_colors,
    columns_to_read,
    described,
    sample_rows,
)
from emrl_ray.runs.result_folder import check_own_folder, made_by

TABLE, PAGE, PICTURE, REJECTS = "map.parquet", "map.html", "map.png", "map.rejects.csv"
SERIAL_ROWS = 2000
"""Up to so many rows t-SNE takes seconds on one thread, and threads that wait for each other longer."""
PREDICTED = "predicted_"
"""What a column with predictions is called: this and the target."""


class MapResult(NamedTuple):
    """What was drawn."""

    rows: pa.Table
    """A row a crystal: id, formula, class, metal_content, what colours, x_MODEL and y_MODEL."""
    rejects: pa.Table
    """A row for each crystal of the sample that could not be drawn."""


def draw_map(config: MapConfig) -> MapResult:
    """Draw the map of a crystals table; writes map.parquet, map.html, map.png and the rejects.

    Raises UserError, FileNotFoundError or ImportError, in one line and before any
    work, for what cannot be drawn.
    """
    need_extra("matplotlib", "openTSNE", "plotly", extra="report")
    folder = resolve(config.out)
    check_own_folder(folder, config.out, TABLE, "map")
    threads = config.threads or available_cpus()
    with limited_threads(threads):
        names = short_names(config.models)
        models = {
            name: Model.load(uri, threads) for name, uri in zip(names, config.models, strict=True)
        }
        sample, columns = _sample(config, models)
        crystals, embeddings, rejects = _embed(sample, models, config)
        _check_enough(crystals.num_rows, config)
        crystals = _with_predictions(crystals, columns, models, embeddings)
        panels = [
            Panel(name, _learned(model), _place(name, embeddings[name], config, threads))
            for name, model in models.items()
        ]
    rows = _with_places(described(crystals, columns), panels)
    result = MapResult(rows, rejects_table(rejects))
    _write(result, panels, columns, folder, config)
    reasons = Counter(result.rejects.column("reason").to_pylist())
    log(summary_line("map", RowCounts(sample.num_rows, rows.num_rows, reasons)))
    log(f"map: {config.out}/{PICTURE}, {PAGE}, {TABLE}")
    return result


def short_names(models: Sequence[str]) -> list[str]:
    """Return a name for each model folder: the least parts of its path, from its end, that differ.

    Raises UserError, in one line, if a folder is there twice.
    """
    parts = [absolute_uri(uri).rstrip("/").split("/") for uri in models]
    if len({tuple(path) for path in parts}) < len(parts):
        raise UserError(f"{' '.join(models)}: a model is there twice")
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(path[-count:]) for path in parts]
        if len(set(names)) == len(names):
            break
    return names


def tsne(
    embeddings: NDArray[np.floating], perplexity: float, seed: int, threads: int
) -> NDArray[np.float64]:
    """Return places (N, 2) for embeddings (N, width), near each other where they are.

    The same seed gives the same places: t-SNE begins at the principal components, and neighbours
    are searched for exactly. Distances are Euclidean, as the heads see the embeddings.
    """
    from openTSNE import TSNE

    found = TSNE(
        perplexity=perplexity,
        initialization="pca",
        neighbors="exact",
        n_jobs=threads if len(embeddings) > SERIAL_ROWS else 1,
        random_state=seed,
    ).fit(np.asarray(embeddings, np.float64))
    return np.array(found, np.float64)


def _check_enough(rows: int, config: MapConfig) -> None:
    needed = math.ceil(3 * config.perplexity) + 1
    if rows < needed:
        raise UserError(
            f"--perplexity {config.perplexity:g}: needs at least {needed} crystals, there are "
            f"{rows}; lower it or give more"
        )


def _sample(config: MapConfig, models: Mapping[str, Model]) -> tuple[pa.Table, list[str]]:
    """Return the crystals to draw and the columns to colour by, some of them still to predict."""
    schema = table_schema(config.crystals)
    check_crystal_schema(schema, config.crystals)
    check_colors(config.color, schema, config.crystals)
    _check_enough(min(ParquetTable.of(config.crystals).num_rows, config.rows), config)
    columns = _columns(config, models, schema)
    read = columns_to_read(schema, columns)
    return sample_rows(config.crystals, read, config.rows, config.seed), columns


def _columns(config: MapConfig, models: Mapping[str, Model], schema: pa.Schema) -> list[str]:
    """Return the columns to colour by, in the order asked for; "target" is a column a target.

    A target that the table lacks is what the first model that learned it predicts.
    """
    columns: list[str] = []
    for color in config.color:
        if color != TARGET:
            columns.append(color)
            continue
        targets = dict.fromkeys(model.card.target for model in models.values())
        known = target_columns(schema)
        columns += [name if name in known else PREDICTED + name for name in targets]
    return list(dict.fromkeys(columns))


def _embed(
    sample: pa.Table, models: Mapping[str, Model], config: MapConfig
) -> tuple[pa.Table, dict[str, NDArray[np.float32]], list[Reject]]:
    """Return the rows that every model can embed, the embeddings by model, and the other rows."""
    cutoffs = [model.cutoff for model in models.values()]
    limits = ValidationLimits.of(config, max(cutoffs))
    good, rejects = validate(sample, limits, config.crystals)
    batch = CrystalBatch.from_arrow(good)
    found = {}
    for name, model in models.items():
        began = time.monotonic()
        found[name] = model.embed(batch)
        _say(f"{name}: {good.num_rows:,} embeddings", began)
    lonely = np.any([np.isnan(values[:, 0]) for values in found.values()], axis=0)
    kept, without_pairs = reject_without_pairs(
        good, lonely, min(cutoffs), config.crystals, Stage.PREDICT
    )
    return kept, {name: values[~lonely] for name, values in found.items()}, rejects + without_pairs


def _with_predictions(
    crystals: pa.Table,
    columns: Sequence[str],
    models: Mapping[str, Model],
    embeddings: Mapping[str, NDArray[np.float32]],
) -> pa.Table:
    """Return the crystals with those of `columns` that are predictions."""
    for name, model in models.items():
        column = PREDICTED + model.card.target
        if column not in columns or column in crystals.column_names:
            continue
        log(f"map: no {model.card.target} in the table: coloured by what {name} predicts")
        values = model.heads[model.card.best_head].predict(embeddings[name])
        field = number_field(column, model.card.unit)
        crystals = crystals.append_column(field, pa.array(values, pa.float64()))
    return crystals


def _learned(model: Model) -> str:
    """Return what a model is: its network, loss and target."""
    card = model.card
    return f"{card.network}, {card.hyperparameters.get('loss', '')}: {card.target}"


def _with_places(rows: pa.Table, panels: Sequence[Panel]) -> pa.Table:
    """Return the rows with the places in each panel, marked as a map's table."""
    for panel in panels:
        rows = rows.append_column(f"x_{panel.title}", pa.array(panel.points[:, 0]))
        rows = rows.append_column(f"y_{panel.title}", pa.array(panel.points[:, 1]))
    return rows.replace_schema_metadata(made_by("map"))


def _place(
    name: str, embeddings: NDArray[np.float32], config: MapConfig, threads: int
) -> NDArray[np.float64]:
    """Return `tsne` of a model's embeddings; UserError, in one line, if they are all the same."""
    if not np.ptp(embeddings, axis=0).any():
        raise UserError(f"{name}: embeds all {len(embeddings)} crystals alike: there is no map")
    began = time.monotonic()
    points = tsne(embeddings, config.perplexity, config.seed, threads)
    _say(f"{name}: t-SNE", began)
    return points


def _say(what: str, began: float) -> None:
    log(f"map: {what} in {duration(time.monotonic() - began)}")


def _write(
    result: MapResult,
    panels: Sequence[Panel],
    columns: Sequence[str],
    folder: Location,
    config: MapConfig,
) -> None:
    """Write the files of a map; the table comes first and marks the folder as a map's."""
    colorings = [coloring(result.rows, column) for column in columns]
    write_parquet(result.rows, folder / TABLE)
    if result.rejects.num_rows:
        write_csv(result.rejects, folder / REJECTS)
    else:
        remove(folder / REJECTS)
    write_bytes(draw(panels, colorings), folder / PICTURE)
    title = f"{result.rows.num_rows:,} crystals of {resolve(config.crystals).name}"
    hover = [result.rows.column("id").to_pylist(), result.rows.column("formula").to_pylist()]
    hover += [_lines(result.rows, column) for column in columns]
    write_bytes(page(title, panels, colorings, hover).encode(), folder / PAGE)


def _lines(rows: pa.Table, column: str) -> list[str]:
    """Return what the page says of each row's value in a column."""
    unit = column_metadata(rows.schema.field(column)).unit
    label = column.replace("_", " ")
    return [
        f"{label}: {'-' if value is None else f'{value:.4g}' if isinstance(value, float) else value}"
        f"{f' {unit}' if unit and value is not None else ''}"
        for value in rows.column(column).to_pylist()
    ]
