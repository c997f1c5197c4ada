"""The verbs that go through a whole library, and what they leave: screen, report, demo."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from emrl_ray.config.base import (
    CrystalLimits,
    EngineOptions,
    Resumable,
    alias,
    at_least,
    check_confidence,
    check_name,
    positional,
    symbols,
    window_of,
)
from emrl_ray.config.errors import UserError


@dataclass(kw_only=True)
class ScreenConfig(Resumable, EngineOptions, CrystalLimits):
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
    and_model: str | None = alias("and")
    """A second model: rank by the probability that --target-window and --target-window2 are both met,
    as if the errors of the two models had nothing in common."""
    target_window2: str | None = None
    """LOW:HIGH of the second model's target."""
    objectives: list[dict[str, str]] = field(default_factory=list)
    """Further objectives, in YAML a list of `model`, `target_window` and, if wanted, `head`."""
    maximize: bool = False
    """Rank by the largest prediction."""
    minimize: bool = False
    """Rank by the smallest prediction."""
    exclude_elements: list[str] = field(default_factory=list)
    """Elements that no crystal of the shortlist may have, as Pb Cd or Pb,Cd."""
    only_elements: list[str] = field(default_factory=list)
    """Elements that a crystal of the shortlist is made of, and no others."""
    in_domain: bool = False
    """Leave out crystals unlike the training set, which the model's domain does not hold."""
    exclude_known: bool = False
    """Leave out crystals that the model has a true value of: those of training, and those held out."""
    per_system: int | None = None
    """Most crystals of the shortlist with the same elements."""
    diverse: bool = False
    """Take, of the best 2 x --top candidates, those that lie far apart in embedding space; with a window
    none that is less than half as likely as the last row without this option."""
    supply_risk: bool = False
    """Add to the shortlist what its elements cost, where they come from, and which are hazardous."""
    confidence: float = 0.9
    """With which the intervals hold the true value."""
    top: int = 100
    """Rows of the shortlist."""
    block_rows: int = 8192
    """Most crystals that are computed and committed together; large ones are fewer, so that it takes a second."""
    format: Literal["parquet", "delta"] = "parquet"
    """Form of the predictions: Parquet files, or the same and, in one commit, rows of a Delta table."""
    table: str | None = None
    """Delta table that --format delta adds the predictions to (default: predictions.delta in --out)."""
    run_id: str | None = None
    """What the column run_id of the Delta table calls this run (default: the name of --out's folder)."""

    def __post_init__(self) -> None:
        EngineOptions.__post_init__(self)
        CrystalLimits.__post_init__(self)
        self.exclude_elements = symbols(self.exclude_elements)
        self.only_elements = symbols(self.only_elements)
        at_least("top", self.top, 1)
        at_least("block_rows", self.block_rows, 1)
        if self.per_system is not None:
            at_least("per_system", self.per_system, 1)
        check_confidence(self.confidence)
        self._check_format()
        if sum([self.target_window is not None, self.maximize, self.minimize]) != 1:
            raise UserError("give exactly one of --target-window LOW:HIGH, --maximize, --minimize")
        if (self.and_model is None) != (self.target_window2 is None):
            raise UserError("--and MODEL and --target-window2 LOW:HIGH: give both or neither")
        if self.wanted()[1:] and self.target_window is None:
            raise UserError("--and: several objectives are met in windows: give --target-window")

    def _check_format(self) -> None:
        named = {"--table": self.table, "--run-id": self.run_id}
        given = [option for option, value in named.items() if value is not None]
        if given and self.format != "delta":
            raise UserError(f"{' and '.join(given)}: only with --format delta")
        if self.run_id is not None:
            check_name("run_id", self.run_id)

    def wanted(self) -> list[ObjectiveOptions]:
        """Return the objectives, that of --target-window, --maximize or --minimize first."""
        window = window_of("target-window", self.target_window)
        found = [ObjectiveOptions("model", self.model, self.head, window)]
        if self.and_model is not None:
            window = window_of("target-window2", self.target_window2)
            found.append(ObjectiveOptions("and", self.and_model, None, window))
        for entry in self.objectives:
            known = {"model", "target_window", "head"}
            if not {"model", "target_window"} <= entry.keys() <= known:
                raise UserError(
                    f"objectives: {entry}: give model and target_window, and head if it is not the best"
                )
            window = window_of("objectives: target-window", entry["target_window"])
            found.append(ObjectiveOptions("objectives", entry["model"], entry.get("head"), window))
        return found


class ObjectiveOptions(NamedTuple):
    """A model, a head of it, and the window that its prediction is wanted in."""

    option: str
    """The option that names the model."""
    model: str
    head: str | None
    window: tuple[float, float] | None
    """(low, high); an open end is infinite. None: as large, or as small, as can be."""


@dataclass(kw_only=True)
class ReportConfig:
    """Write the HTML report of a finished screening run anew."""

    run: str = positional()
    """Folder of the run."""
    model: str | None = None
    """Its model's folder, if that is no longer where the run's manifest says."""


@dataclass(kw_only=True)
class DiffConfig:
    """Say what entered, left and moved between the shortlists of two runs."""

    before: str = positional()
    """Folder of the earlier run, or of a night's best (OUT/best/NIGHT of nightly)."""
    after: str = positional()
    """Folder of the later one."""
    out: str | None = None
    """File for the changes (.parquet, .csv or .json); none prints a table."""


@dataclass(kw_only=True)
class DemoConfig:
    """Run the whole journey on generated crystals with an exactly known property."""

    out: str = "demo-run"
    """Folder for everything the demo makes."""
    seed: int = 0
    """Seed of library, split and training."""
