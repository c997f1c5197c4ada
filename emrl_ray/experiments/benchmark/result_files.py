"""The results of trainings as files: one a method, written as soon as it is scored, and not made again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from emrl_ray.config import UserError
from emrl_ray.experiments.benchmark.runs import Record
from emrl_ray.io.atomic import write_json
from emrl_ray.io.paths import Location, read_json, resolve


def write_records(records: Iterator[Record], out: str) -> list[str]:
    """Write each record as soon as it is there; return a line about each."""
    lines = []
    for name, content in records:
        write_json(content, resolve(out) / "/".join(name))
        lines.append(
            f"{content['method']}: MAE {content['mae']:.4f}, R² {content['r2']:.4f}, "
            f"{content['n_train']:,} rows, {content['train_seconds']:.0f} s"
        )
    return lines


def has_result(location: Location, meant: Mapping[str, Any]) -> bool:
    """Return whether there is a result at `location`, made with the settings that are meant now.

    Raises UserError, in one line, if it was made with others or is damaged.
    """
    if not location.is_file():
        return False
    try:
        found = _settings(read_json(location))
    except ValueError:
        raise UserError(f"{location.path}: a damaged result; delete it to make it again") from None
    for name, value in _settings(meant).items():
        if found.get(name) != value:
            raise UserError(
                f"{location.path}: made with {name} {found.get(name)}, it is {value} now: "
                "use another --out"
            )
    return True


def _settings(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a record, each hyperparameter as one of them."""
    entries = dict(record)
    return entries | entries.pop("hyperparameters", {})
