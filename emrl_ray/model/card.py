"""The card of a model: what it is and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from emrl_ray.config.base import refuse_query
from emrl_ray.config.errors import MissingFileError, UserError
from emrl_ray.config.renamed import current_names
from emrl_ray.io.paths import resolve
from emrl_ray.model.errors import CorruptModelError, as_mapping, corruption_reported, read_mapping
from emrl_ray.model.heads import HEADS

FORMAT_VERSION = 2
READABLE = (1, 2)
"""Formats that are read. The first has no domain, no structures of its reference rows, no held-out rows."""
READ = " and ".join(map(str, READABLE))
CARD = "card.json"


@dataclass(frozen=True)
class Card:
    """What a model is and where it comes from."""

    target: str
    """Column that was learned."""
    unit: str | None
    """Its unit."""
    theory: str | None
    """Its level of theory."""
    network: str
    """Name of the embedding network."""
    cutoff: float
    """Longest pair distance, Å."""
    elements: Any
    """Filling of unknown element properties (`features.element_properties`)."""
    basis: Any
    """Name of the distance basis (`features.distance_basis`)."""
    width: int
    """Numbers in an embedding."""
    heads: dict[str, dict[str, int]]
    """The heads by name, with what each chose by itself."""
    best_head: str
    """The head that predicts unless another is asked for."""
    rows: dict[str, int]
    """Rows of training, calibration and test."""
    metrics: dict[str, Any]
    """Scores by part and head, and the floors."""
    dataset: str
    """Fingerprint of the training data."""
    hyperparameters: dict[str, Any]
    """Options of the training, seed included."""
    versions: dict[str, str]
    """Versions of the packages that made the model."""
    format_version: int = FORMAT_VERSION
    """Version of the folder's format."""

    @property
    def keeps_structures(self) -> bool:
        """Whether the folder has its crystals, those held out and a domain: format 1 kept none of them."""
        return self.format_version > 1


def read_card(uri: str) -> Card:
    """Return the card of a model folder; MissingFileError or UserError, in one line, if unusable."""
    refuse_query("model", uri)
    location = resolve(uri) / CARD
    if not location.is_file():
        raise MissingFileError(f"{uri}: no model there ({CARD} is missing)")
    with corruption_reported(uri):
        values = read_mapping(location, CARD)
        version = values.get("format_version")
        if version not in READABLE:
            raise UserError(
                f"{uri}: model format {version}, this version reads {READ}; train it again "
                "or use the emrl-ray version that its card names"
            )
        return _card(values)


def _card(values: dict[str, Any]) -> Card:
    """Return the card with these entries; CorruptModelError if one is missing or is not what it should be."""
    names = [entry.name for entry in fields(Card)]
    for name in names:
        if name not in values:
            raise CorruptModelError(f"{CARD} has no {name}")
    for name in ("heads", "rows", "metrics", "hyperparameters", "versions"):
        as_mapping(values[name], f"{name} in {CARD}")
    values["hyperparameters"] = current_names(values["hyperparameters"])
    heads, best = values["heads"], values["best_head"]
    if unknown := sorted(heads.keys() - HEADS.keys()):
        raise CorruptModelError(f"heads in {CARD}: {unknown[0]} is none of {', '.join(HEADS)}")
    if best not in heads:
        raise CorruptModelError(f"best_head in {CARD}: {best} is none of {', '.join(heads)}")
    return Card(**{name: values[name] for name in names})
