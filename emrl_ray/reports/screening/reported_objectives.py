"""The objectives of a run, each with the model that judges it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from emrl_ray.config.base import number_text, window_of
from emrl_ray.crystals.units import column_metadata
from emrl_ray.io.paths import resolve
from emrl_ray.reports.screening.model_folder import ModelFolder, find_model, named_model
from emrl_ray.screening.objectives import suffix


class ReportedObjective(NamedTuple):
    """An objective of a run."""

    number: int
    """From 0."""
    target: str
    """Name of its target, in words."""
    unit: str
    """Empty if unknown."""
    window: tuple[float, float] | None
    """What is asked of it, None for the largest or smallest; an open end is infinite."""
    head: str
    """Regressor that predicted; empty if unknown."""
    model: ModelFolder

    @property
    def ending(self) -> str:
        """What the names of its columns end in."""
        return suffix(self.number)

    @property
    def label(self) -> str:
        """Name and unit of the target."""
        return f"{self.target} ({self.unit})" if self.unit else self.target

    @property
    def within(self) -> str:
        """The window in words, after the name of the target; empty without one."""
        if self.window is None:
            return ""
        low, high = self.window
        unit = f" {self.unit}" if self.unit else ""
        if math.isinf(high):
            return f"of at least {number_text(low)}{unit}"
        if math.isinf(low):
            return f"of at most {number_text(high)}{unit}"
        return f"between {number_text(low)} and {number_text(high)}{unit}"


def read_objectives(
    manifest: Mapping[str, Any], shortlist: pa.Schema, model: str | None
) -> list[ReportedObjective]:
    """Return the objectives of a run, one or more.

    `model` is the folder of the first one's model if that was moved: raises UserError, in one line,
    if it is none or another.
    """
    config = manifest.get("config") or {}
    used = manifest.get("fingerprints") or {}
    given = {"model": config.get("model"), "window": config.get("target_window")}
    described = manifest.get("objectives") or [given]
    first = str(described[0].get("model") or "")
    models = {first: named_model(model, used.get("model"))} if model else {}
    found = []
    for number, made in enumerate(described):
        place = str(made.get("model") or "")
        if place not in models:
            models[place] = find_model(place, used.get(f"model{number + 1}" if number else "model"))
        card = models[place].card
        target = made.get("target") or (card.target if card else "predicted property")
        unit = made.get("unit") or (card.unit if card else _unit(shortlist, number))
        head = _heads(config, len(described))[number] or (card.best_head if card else "")
        text = str(made["window"]) if made.get("window") else None
        window = window_of("target-window", text)
        words = str(target).replace("_", " ")
        found.append(ReportedObjective(number, words, unit or "", window, head, models[place]))
    return found


def _unit(shortlist: pa.Schema, number: int) -> str | None:
    """Return the unit in which a shortlist has the predictions of an objective."""
    place = shortlist.get_field_index(f"prediction{suffix(number)}")
    return column_metadata(shortlist.field(place)).unit if place >= 0 else None


def _heads(config: Mapping[str, Any], count: int) -> list[str | None]:
    """Return the regressor asked for by each objective, None for its model's best."""
    heads = [config.get("head"), *([None] if config.get("and_model") else [])]
    heads += [made.get("head") for made in config.get("objectives") or []]
    return (heads + [None] * count)[:count]


def names(objectives: Sequence[ReportedObjective]) -> list[str]:
    """Return a short name of each objective, unlike the others': target, regressor, model."""
    found = [each.target for each in objectives]
    found = _distinguished(found, (f"({each.head})" if each.head else "" for each in objectives))
    found = _distinguished(found, (f"of {_folder(each.model)}" for each in objectives))
    return _distinguished(found, (f"({each.number + 1})" for each in objectives))


def judges(objectives: Sequence[ReportedObjective]) -> dict[str, ReportedObjective]:
    """Return one objective for each model, by a short name of the model."""
    found: dict[str, ReportedObjective] = {}
    for each in objectives:
        found.setdefault(each.model.location or str(each.number), each)
    each_once = list(found.values())
    titles = [each.target for each in each_once]
    titles = _distinguished(titles, (f"of {_folder(each.model)}" for each in each_once))
    titles = _distinguished(titles, (f"({each.number + 1})" for each in each_once))
    return dict(zip(titles, each_once, strict=True))


def _distinguished(names: Sequence[str], words: Iterable[str]) -> list[str]:
    """Return names, with words after those that stand there twice."""
    often = Counter(names)
    return [
        f"{name} {more}" if often[name] > 1 and more else name
        for name, more in zip(names, words, strict=True)
    ]


def _folder(model: ModelFolder) -> str:
    return resolve(model.location).name if model.location else ""
