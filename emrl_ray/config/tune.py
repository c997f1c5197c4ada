"""The verb tune."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple

from emrl_ray.config.base import CrystalLimits, Resumable, above, at_least, between, positional
from emrl_ray.config.errors import UserError
from emrl_ray.config.search_space import RangeDomain, SearchDomain, Space, Value, parse_space
from emrl_ray.config.train import HEADS, ONE_CYCLE_PEAK, TrainConfig


class Hyperparameter(NamedTuple):
    """An option of `train` that `tune` can search."""

    kind: type
    default: Space
    """What it is searched over if no space is given."""
    log: bool = False
    """Whether a range of it is logarithmic."""


HYPERPARAMETERS: dict[str, Hyperparameter] = {
    "margin": Hyperparameter(float, "0.02:0.4"),
    "learning_rate": Hyperparameter(float, "1.25e-4:2e-3", log=True),
    "l2": Hyperparameter(float, "1e-6:1e-3", log=True),
    "batch_size": Hyperparameter(int, "16,32,48,64"),
    "cutoff": Hyperparameter(float, "4,5"),
    "width": Hyperparameter(int, "64,128,256"),
    "network": Hyperparameter(str, "tgnn,cgconv"),
    "loss": Hyperparameter(str, "emrl,distance,rank_n_contrast"),
}
"""What can be searched, over spaces around SI Table 2 (Na 2022). The learning rate is a constant one."""
SEARCHED = ("margin", "learning_rate", "l2", "batch_size", "cutoff", "width")
"""What is searched if nothing is named."""


@dataclass(kw_only=True)
class TuneConfig(Resumable, CrystalLimits):
    """Search the hyperparameters of train on validation rows, each trial a training of its own."""

    crystals: str = positional()
    """Crystals table with the target."""
    target: str
    """Column to learn."""
    out: str
    """Folder for trials, report and the best configuration."""
    search: list[str] = field(default_factory=list)
    """Options to search over their default spaces (default: margin learning_rate l2 batch_size cutoff width); the others are the preset's, unless a space is given."""
    preset: str | None = None
    """Hyperparameters of SI Table 2 by name, for options that are not searched."""
    margin: Space | None = None
    """Margins α: a value, values A,B,C, or a range LOW:HIGH; in YAML also a list or {low: LOW, high: HIGH}."""
    learning_rate: Space | None = None
    """Learning rates, for one_cycle of its peak; a range is logarithmic, here and of --l2, but for {log: false}."""
    l2: Space | None = None
    """L2 penalties."""
    batch_size: Space | None = None
    """Batch sizes."""
    cutoff: Space | None = None
    """Cutoffs, Å; pairs are found once, within the longest."""
    width: Space | None = None
    """Embedding widths."""
    network: Space | None = None
    """Networks, as tgnn,cgconv (default: tgnn)."""
    loss: Space | None = None
    """Losses, as emrl,distance (default: emrl); the margin is one of emrl alone."""
    trials: int = 30
    """Trials in all."""
    epochs: int = 100
    """Passes over the training set of a trial that is not stopped."""
    grace: int = 15
    """Epochs before a trial may be stopped; it is compared again after `reduction` times as many, and so on."""
    reduction: int = 3
    """At each comparison a trial goes on if it is among the best one in so many."""
    validate_every: int = 5
    """Epochs between validations, each with a checkpoint."""
    validation: float = 0.2
    """Share of the training rows that trials are scored on."""
    head: Literal["linear", "neural", "boosted"] = "linear"
    """Regressor that is fitted on the embeddings for the score."""
    test: float = 0.2
    """Share of the rows that no trial sees, those that `train` with the same seed holds out."""
    calibration: float = 0.1
    """Share of the rows that no trial sees, kept for the intervals of the model that is trained later."""
    split: Literal["random", "formula"] = "random"
    """How rows are held out: at random, or whole compositions together."""
    elements: Literal["mean", "reference"] = "mean"
    """Filling of unknown element properties, as in train."""
    basis: Literal["uniform", "reference"] = "uniform"
    """Distance basis, as in train."""
    batch_norm: Literal["shared", "three_pass"] = "shared"
    """Passes of a batch, as in train."""
    batch_pairs: int | None = None
    """Ordered pairs at which a batch ends early, as in train."""
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    """Course of the learning rate."""
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    """Arithmetic of training; bfloat16 is mixed precision and needs a GPU."""
    seed: int = 0
    """Seed of splits, search, weights, batches, triplets and heads."""
    address: str | None = None
    """Ray cluster to join; none starts a local one, except in a submitted job, which joins its own."""
    workers: int = 1
    """Data parallel workers of a trial."""
    cpus_per_worker: int = 1
    """CPUs (and threads) of one worker."""
    gpu: bool = False
    """Give each worker a GPU."""
    max_concurrent: int | None = None
    """Trials at a time (default: as many as the cluster's CPUs and GPUs hold when the search begins)."""
    max_failures: int = 3
    """Lost workers that a trial recovers from before it counts as failed."""

    def __post_init__(self) -> None:
        CrystalLimits.__post_init__(self)
        for option in ("trials", "epochs", "grace", "validate_every"):
            at_least(option, getattr(self, option), 1)
        at_least("reduction", self.reduction, 2)
        if self.max_concurrent is not None:
            at_least("max_concurrent", self.max_concurrent, 1)
        above("validation", self.validation, 0)
        between("validation", self.validation, 0, 0.5)
        if self.head not in HEADS:
            raise UserError(f"--head {self.head}: choose from {', '.join(HEADS)}")
        for option in ("grace", "validate_every"):
            if getattr(self, option) > self.epochs:
                name = option.replace("_", "-")
                raise UserError(
                    f"--{name} {getattr(self, option)}: is more than --epochs {self.epochs}"
                )
        self._fill_spaces()
        if not self.space:
            raise UserError(
                "nothing to search: every option has one value; "
                "give one a range or several values, or name it with --search"
            )
        for name, domain in self.domains.items():
            for value in domain.extremes:
                self.training({**self.first_values(), name: value})

    def _fill_spaces(self) -> None:
        """Write each space in one form, and the default one of what is searched without one."""
        for name in self.search:
            if name not in HYPERPARAMETERS:
                raise UserError(f"--search {name}: choose from {', '.join(HYPERPARAMETERS)}")
        for name, entry in HYPERPARAMETERS.items():
            given = getattr(self, name)
            domain: SearchDomain | None = None
            if given is not None:
                domain = parse_space(name, given, entry.kind, entry.log)
            elif name in (self.search or SEARCHED):
                domain = parse_space(name, entry.default, entry.kind, entry.log)
                if name == "learning_rate" and self.schedule == "one_cycle":
                    assert isinstance(domain, RangeDomain)
                    domain = domain.times(ONE_CYCLE_PEAK)
            setattr(self, name, None if domain is None else domain.plain())

    @property
    def domains(self) -> dict[str, SearchDomain]:
        """The domains that were given or are searched, by the names of the options."""
        return {
            name: parse_space(name, getattr(self, name), entry.kind, entry.log)
            for name, entry in HYPERPARAMETERS.items()
            if getattr(self, name) is not None
        }

    @property
    def space(self) -> dict[str, SearchDomain]:
        """The domains that hold more than one value: what is searched."""
        return {name: domain for name, domain in self.domains.items() if not domain.fixed}

    def first_values(self) -> dict[str, Value]:
        """Return a value of each option that is searched."""
        return {name: domain.extremes[0] for name, domain in self.space.items()}

    def preset_values(self) -> dict[str, Value] | None:
        """Return what the preset has for all that is searched; None if the space does not hold it."""
        preset = self._training(dict.fromkeys(self.space))
        values = {name: getattr(preset, name) for name in self.space}
        inside = all(value in self.space[name] for name, value in values.items())
        return values if inside else None

    def training(self, values: dict[str, Value], **extra: Any) -> TrainConfig:
        """Return the options of a training with `values` for what is searched, and `extra` ones.

        Raises UserError, in one line, as `TrainConfig` does.
        """
        return self._training(dict(values), **extra)

    def _training(self, values: dict[str, Any], **extra: Any) -> TrainConfig:
        own = {entry.name for entry in fields(self)} - HYPERPARAMETERS.keys()
        shared = {
            entry.name: getattr(self, entry.name)
            for entry in fields(TrainConfig)
            if entry.name in own
        }
        fixed = {name: domain.extremes[0] for name, domain in self.domains.items() if domain.fixed}
        options: dict[str, Any] = {**shared, **fixed, **values}
        given = {name: value for name, value in options.items() if value is not None}
        return TrainConfig(**{**given, "checkpoint_every": self.validate_every, **extra})

    @property
    def longest_cutoff(self) -> float:
        """The longest cutoff of any trial, Å."""
        return max(self._cutoffs())

    @property
    def shortest_cutoff(self) -> float:
        """The shortest cutoff of any trial, Å."""
        return min(self._cutoffs())

    def _cutoffs(self) -> list[float]:
        domain = self.domains.get("cutoff")
        if domain is not None:
            return [float(value) for value in domain.extremes]
        cutoff = self.training(self.first_values()).cutoff
        assert cutoff is not None
        return [cutoff]
