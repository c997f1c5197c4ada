"""The verbs that use a model on one machine: predict, evaluate, embed, neighbors, map."""

from __future__ import annotations

from dataclasses import dataclass, field

from emrl_ray.config.base import CrystalLimits, at_least, check_confidence, positional
from emrl_ray.config.errors import UserError


@dataclass(kw_only=True)
class LocalOptions(CrystalLimits):
    """How crystals of any source are read on this machine."""

    cif_column: str = "cif"
    """Column of a CSV source that holds the CIF text."""
    threads: int | None = None
    """Threads (default: all CPUs)."""

    def __post_init__(self) -> None:
        CrystalLimits.__post_init__(self)
        if self.threads is not None:
            at_least("threads", self.threads, 1)


@dataclass(kw_only=True)
class PredictConfig(LocalOptions):
    """Predict on this machine, without a cluster."""

    model: str = positional()
    """Model folder."""
    source: str = positional()
    """File, folder or archive of crystals, or a crystals table."""
    out: str | None = None
    """File for the predictions (.parquet, .csv or .json); none prints a table."""
    head: str | None = None
    """Regressor to use (default: the one the model's card names best)."""
    confidence: float = 0.9
    """With which the intervals hold the true value."""

    def __post_init__(self) -> None:
        LocalOptions.__post_init__(self)
        check_confidence(self.confidence)


@dataclass(kw_only=True)
class EvaluateConfig(LocalOptions):
    """Compare predictions with known values: error, intervals, and where a model fails."""

    model: str = positional()
    """Model folder."""
    crystals: str = positional()
    """Crystals table with the target, or another source that has it, such as a CSV with a CIF column."""
    target: str | None = None
    """Column with the known values (default: the target that the model learned)."""
    head: str | None = None
    """Regressor to use (default: the one the model's card names best)."""
    confidence: float = 0.9
    """With which the intervals hold the true value."""
    out: str | None = None
    """Folder for metrics.json, predictions.parquet, by_element.csv, parity.png and parity.svg."""

    def __post_init__(self) -> None:
        LocalOptions.__post_init__(self)
        check_confidence(self.confidence)


@dataclass(kw_only=True)
class EmbedConfig(LocalOptions):
    """Write the embedding of each crystal: the numbers that a model sees it as."""

    model: str = positional()
    """Model folder."""
    source: str = positional()
    """File, folder or archive of crystals, or a crystals table."""
    out: str
    """Parquet file for the embeddings."""


@dataclass(kw_only=True)
class NeighborsConfig(LocalOptions):
    """List the nearest known crystals: those that a model sees as most alike, with their values."""

    model: str = positional()
    """Model folder."""
    source: str = positional()
    """File, folder or archive of crystals, a crystals table, or the id of a crystal that the model knows."""
    count: int = 5
    """Neighbours of each crystal."""
    out: str | None = None
    """File for the neighbours (.parquet, .csv or .json); none prints a table."""

    def __post_init__(self) -> None:
        LocalOptions.__post_init__(self)
        at_least("count", self.count, 1)


@dataclass(kw_only=True)
class MapConfig(CrystalLimits):
    """Draw crystals as models see them: a 2-D map of each model's embeddings, side by side."""

    models: list[str] = positional()
    """Model folders, a column of the map each."""
    crystals: str
    """Crystals table."""
    out: str
    """Folder for map.png, map.html and map.parquet."""
    color: list[str] = field(default_factory=lambda: ["target", "class", "metal_content"])
    """What to colour by: target, class, metal_content, anion or a column of the crystals table."""
    rows: int = 5000
    """Most crystals to draw; of more, a random sample is."""
    perplexity: float = 30.0
    """Neighbours that t-SNE tries to keep near a crystal; needs three times as many crystals."""
    seed: int = 0
    """Seed of sample and t-SNE."""
    threads: int | None = None
    """Threads (default: all CPUs)."""

    def __post_init__(self) -> None:
        CrystalLimits.__post_init__(self)
        at_least("rows", self.rows, 1)
        at_least("perplexity", self.perplexity, 2)
        at_least("seed", self.seed, 0)
        if self.threads is not None:
            at_least("threads", self.threads, 1)
        for option, values in (("models", self.models), ("color", self.color)):
            if not values or len(set(values)) < len(values):
                raise UserError(f"--{option} {' '.join(values)}: give one or more, each once")
