"""The verbs that use a model: predict, screen, report, map, demo."""

from __future__ import annotations

from dataclasses import dataclass, field

from emrl_ray.config.base import (
    ClusterOptions,
    ConfigError,
    CrystalLimits,
    Resumable,
    at_least,
    positional,
)


@dataclass(kw_only=True)
class PredictConfig(CrystalLimits):
    """Predict on this machine, without a cluster."""

    model: str = positional()
    """Model folder."""
    source: str = positional()
    """File, folder or archive of crystals, or a crystals table."""
    out: str | None = None
    """File for the predictions (.parquet, .csv or .json); none prints a table."""
    head: str | None = None
    """Regressor to use (default: the one the model's card names best)."""
    cif_column: str = "cif"
    """Column of a CSV source that holds the CIF text."""
    threads: int | None = None
    """Threads (default: all CPUs)."""

    def __post_init__(self) -> None:
        CrystalLimits.__post_init__(self)
        if self.threads is not None:
            at_least("threads", self.threads, 1)


@dataclass(kw_only=True)
class ScreenConfig(Resumable, ClusterOptions, CrystalLimits):
    """Predict and rank a whole library of candidates."""

    model: str = positional()
    """Model folder."""
    crystals: str = positional()
    """Crystals table of the candidates."""
    out: str
    """Folder for the run."""
    head: str | None = None
    """Regressor to use (default: the one the model's card names best)."""
    target_window: str | None = None
    """Rank by the probability of a value within LOW:HIGH, in the target's unit; either end may be empty."""
    maximize: bool = False
    """Rank by the largest prediction."""
    minimize: bool = False
    """Rank by the smallest prediction."""
    exclude_elements: list[str] = field(default_factory=list)
    """Elements that no crystal of the shortlist may have."""
    only_elements: list[str] = field(default_factory=list)
    """Elements that a crystal of the shortlist is made of, and no others."""
    top: int = 100
    """Rows of the shortlist."""
    block_rows: int = 4096
    """Crystals that are computed and committed together."""

    def __post_init__(self) -> None:
        ClusterOptions.__post_init__(self)
        CrystalLimits.__post_init__(self)
        at_least("top", self.top, 1)
        at_least("block_rows", self.block_rows, 1)
        if sum([self.target_window is not None, self.maximize, self.minimize]) != 1:
            raise ConfigError(
                "give exactly one of --target-window LOW:HIGH, --maximize, --minimize"
            )
        if self.target_window is not None:
            self.window()

    def window(self) -> tuple[float, float]:
        """Return the target window as (low, high); an open end is infinite."""
        assert self.target_window is not None
        try:
            low, high = self.target_window.split(":")
            bounds = (float(low or "-inf"), float(high or "inf"))
        except ValueError:
            bounds = (1.0, 0.0)
        if not bounds[0] < bounds[1] or bounds == (float("-inf"), float("inf")):
            raise ConfigError(
                f"--target-window {self.target_window}: give LOW:HIGH with LOW < HIGH, as in 1.0:1.7"
            )
        return bounds


@dataclass(kw_only=True)
class ReportConfig:
    """Write the HTML report of a finished screening run anew."""

    run: str = positional()
    """Folder of the run."""
    model: str | None = None
    """Its model's folder, if that is no longer where the run's manifest says."""


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
                raise ConfigError(f"--{option} {' '.join(values)}: give one or more, each once")


@dataclass(kw_only=True)
class DemoConfig:
    """Run the whole journey on an embedded library and a local Ray."""

    out: str = "demo-run"
    """Folder for everything the demo makes."""
    seed: int = 0
    """Seed of library, split and training."""
