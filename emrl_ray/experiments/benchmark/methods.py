"""The methods that the protocol compares: a representation, and a regressor that reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from emrl_ray.config import UserError
from emrl_ray.config.presets import Preset


class Recipe(NamedTuple):
    """How a network is trained; methods of the same recipe share one training."""

    network: str
    loss: str
    options: Mapping[str, Any] = {}
    """Options of `config.TrainConfig` that differ from the data set's preset."""
    by_dataset: Mapping[str, str] = {}
    """Networks of data sets by name, in place of `network`."""


class Method(NamedTuple):
    """A method by what it consists of."""

    recipe: str
    """Name in `RECIPES`, or `CLASSICAL`."""
    head: str
    """Name in `model.heads.HEADS`."""


READOUT = "readout"
"""The head of a supervised network, which is fitted with it."""
CLASSICAL = "classical"
"""The representation made by hand (`features.classical_descriptor`), which needs no training."""
UNTRAINED = "untrained"
"""The network of EMRL as it begins, a floor."""

RECIPES: dict[str, Recipe] = {
    "GCN": Recipe("gcn", "l1"),
    "GAT": Recipe("gat", "l1"),
    "TGNN": Recipe("tgnn", "l1"),
    "CGCNN": Recipe("cgcnn", "l1"),
    "MEGNet": Recipe("megnet", "l1"),
    "EMRL": Recipe("tgnn", "emrl"),
    "SLRL": Recipe("tgnn", "slrl"),
    "EMRL+": Recipe(
        "cgcnn",
        "rank_n_contrast",
        {"l2": 5e-6, "cutoff": 5.0},
        {"HOIP": "cgconv"},
    ),
    UNTRAINED: Recipe("tgnn", "emrl"),
}
"""Trainings by name: the baselines of SI section 4, EMRL, and what goes beyond the paper."""

METHODS: dict[str, Method] = {
    **{name: Method(name, READOUT) for name in ("GCN", "GAT", "TGNN", "CGCNN", "MEGNet")},
    "EMRL-LR": Method("EMRL", "linear"),
    "EMRL-NN": Method("EMRL", "neural"),
    "EMRL-GB": Method("EMRL", "boosted"),
    "SLRL-GB": Method("SLRL", "boosted"),
    "EMRL+-LR": Method("EMRL+", "linear"),
    "EMRL+-GB": Method("EMRL+", "boosted"),
    CLASSICAL: Method(CLASSICAL, "boosted"),
    UNTRAINED: Method(UNTRAINED, "boosted"),
}
"""Methods by name; a new one is a line here, and one in `RECIPES`."""


def longest_cutoff(preset: Preset) -> float:
    """Return the longest cutoff (Å) of all recipes on a data set with that preset."""
    return max(recipe.options.get("cutoff", preset.cutoff) for recipe in RECIPES.values())


def check_methods(names: list[str], folds: int) -> None:
    """Raise UserError, in one line, for a name that is none, or that cannot use `folds`."""
    for name in names:
        if name not in METHODS:
            raise UserError(f"--methods {name}: choose from {', '.join(METHODS)}")
        recipe, head = METHODS[name]
        if folds and (head == READOUT or recipe in (CLASSICAL, UNTRAINED)):
            raise UserError(f"--out-of-fold {folds}: {name} fits no head on a trained network")


def by_recipe(names: list[str]) -> dict[str, list[str]]:
    """Return the methods of each recipe, in the order of the registry."""
    groups: dict[str, list[str]] = {}
    for name, method in METHODS.items():
        if name in names:
            groups.setdefault(method.recipe, []).append(name)
    return groups
