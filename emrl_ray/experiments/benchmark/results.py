"""Reads the results of the benchmark, one JSON file for a method on a split."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from pyarrow import fs

from emrl_ray.config.errors import MissingFileError, UserError
from emrl_ray.io.concurrent import map_concurrently
from emrl_ray.io.paths import Location, read_json, resolve
from emrl_ray.training.evaluation import Baselines, Scores

DEPTH = 2
"""Folders above a result: data set and method."""


class Result(NamedTuple):
    """What one method reached on one split of a data set."""

    dataset: str
    target: str
    unit: str
    """Of the target and of `mae`, empty where it is unknown."""
    method: str
    split: str
    """"random" or "formula"."""
    seed: int
    """The same data set, split and seed are the same test rows, whatever the method."""
    n_train: int
    n_test: int
    mae: float
    r2: float
    floors: Baselines | None
    epochs: int | None
    """None where nothing was trained by epochs."""
    train_seconds: float | None
    """By the clock."""
    train_cpu_seconds: float | None
    """Of all threads."""
    predict_per_second: float | None
    """Crystals a second."""
    learning_curve: tuple[float, ...]
    """Training loss by epoch; empty where there is none."""
    machine: Mapping[str, Any]
    hyperparameters: Mapping[str, Any]
    """What was asked for, not what a method chose on the training rows of its split."""


class Results(NamedTuple):
    """The results below a folder, and what else was there."""

    found: list[Result]
    skipped: list[str]
    """A line for each JSON file that is no result: its path within the folder, and why."""


def read_results(uri: str) -> Results:
    """Return all results ``DATASET/METHOD/SPLIT-SEED.json`` of a folder or URI.

    What lies elsewhere in the folder is none of the benchmark's and is skipped. Raises MissingFileError, in one line, if there are none.
    """
    folder = resolve(uri)
    files = _json_files(folder)
    contents = list(map_concurrently(_read, files, folder.filesystem))
    found: list[Result] = []
    skipped = []
    for file, content in zip(files, contents, strict=True):
        place = file.path.removeprefix(folder.path.rstrip("/") + "/")
        if isinstance(content, Result) and place == _cell(content):
            found.append(content)
            continue
        why = content if isinstance(content, str) else f"holds {_cell(content)}"
        skipped.append(f"{place}: skipped, {why}")
    if not found:
        also = f" ({len(skipped)} other JSON files, first {skipped[0]})" if skipped else ""
        raise MissingFileError(f"{uri}: no result DATASET/METHOD/SPLIT-SEED.json below it{also}")
    return Results(found, skipped)


def _json_files(folder: Location) -> list[Location]:
    """Return the JSON files two folders below a folder, sorted by path, none that is being written."""
    selector = fs.FileSelector(folder.path, recursive=True, allow_not_found=True)
    paths = [
        info.path
        for info in folder.filesystem.get_file_info(selector)
        if info.is_file
        and info.extension == "json"
        and info.base_name[0] not in "._"
        and info.path.removeprefix(folder.path).strip("/").count("/") == DEPTH
    ]
    return [Location(folder.filesystem, path) for path in sorted(paths)]


def _cell(result: Result) -> str:
    return f"{result.dataset}/{result.method}/{result.split}-{result.seed}.json"


def _read(file: Location) -> Result | str:
    """Return the result that a file holds, or why it holds none."""
    try:
        return _parse(read_json(file))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        return f"damaged: no JSON ({str(error).splitlines()[0]})"
    except ValueError as error:
        return f"no result of the benchmark: {error}"


def _parse(content: Any) -> Result:
    """Return the result in what a JSON file holds; ValueError says what is wrong with it."""
    if not isinstance(content, dict):
        raise UserError(f"a {type(content).__name__}, not an object")
    for name in ("dataset", "target", "method", "split"):
        if not isinstance(content.get(name), str):
            raise UserError(f"{name} is {content.get(name)!r}, not a text")
    for name in ("seed", "n_train", "n_test"):
        if type(content.get(name)) is not int:
            raise UserError(f"{name} is {content.get(name)!r}, not a whole number")
    if content["n_train"] < 1 or content["n_test"] < 1:
        raise UserError(f"n_train {content['n_train']} and n_test {content['n_test']}")
    curve, epochs = content.get("learning_curve") or [], content.get("epochs")
    if not isinstance(curve, list):
        raise UserError("learning_curve is not a list")
    if epochs is not None and type(epochs) is not int:
        raise UserError(f"epochs is {epochs!r}, not a whole number")
    return Result(
        dataset=content["dataset"],
        target=content["target"],
        unit=str(content.get("unit") or ""),
        method=content["method"],
        split=content["split"],
        seed=content["seed"],
        n_train=content["n_train"],
        n_test=content["n_test"],
        mae=_number(content, "mae"),
        r2=_number(content, "r2"),
        floors=_floors(content.get("floors")),
        epochs=epochs or None,
        train_seconds=_number_if_any(content, "train_seconds"),
        train_cpu_seconds=_number_if_any(content, "train_cpu_seconds"),
        predict_per_second=_number_if_any(content, "predict_per_second"),
        learning_curve=tuple(_finite(value, "learning_curve") for value in curve),
        machine=_object(content, "machine"),
        hyperparameters=_object(content, "hyperparameters"),
    )


def _floors(content: Any) -> Baselines | None:
    if content is None:
        return None
    if not isinstance(content, dict) or not all(
        isinstance(content.get(name), dict) for name in Baselines._fields
    ):
        raise UserError(f"floors must hold {' and '.join(Baselines._fields)}")
    return Baselines(
        *(
            Scores(_number(content[name], "mae"), _number(content[name], "r2"))
            for name in Baselines._fields
        )
    )


def _object(content: dict[str, Any], name: str) -> Mapping[str, Any]:
    value = content.get(name) or {}
    if not isinstance(value, dict):
        raise UserError(f"{name} is not an object")
    return value


def _number(content: dict[str, Any], name: str) -> float:
    return _finite(content.get(name), name)


def _number_if_any(content: dict[str, Any], name: str) -> float | None:
    return None if content.get(name) is None else _number(content, name)


def _finite(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{name} is {value!r}, not a number")
    return float(value)
