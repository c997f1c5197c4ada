"""The verbs that go through a whole library: screen, demo."""

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
class DemoConfig:
    """Run the whole journey on an embedded library and a local Ray."""

    out: str = "demo-run"
    """Folder for everything the demo makes."""
    seed: int = 0
    """Seed of library, split and training."""
