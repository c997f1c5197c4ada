"""The model as an artefact: a folder that holds all it takes to predict."""

from emrl_ray.model.artifact import HELD_OUT, REFERENCE, Model, ModelTables
from emrl_ray.model.card import CARD, Card, read_card
from emrl_ray.model.files import open_network, read_state
from emrl_ray.model.prediction_table import NEAREST, PREDICTION_COLUMNS, check_free_columns

__all__ = [
    "CARD",
    "HELD_OUT",
    "NEAREST",
    "PREDICTION_COLUMNS",
    "REFERENCE",
    "Card",
    "Model",
    "ModelTables",
    "check_free_columns",
    "open_network",
    "read_card",
    "read_state",
]
