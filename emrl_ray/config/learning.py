"""Networks, their training, and the verb train."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

from emrl_ray.config.base import (
    ConfigError,
    CrystalLimits,
    Resumable,
    above,
    at_least,
    between,
    positional,
)
from emrl_ray.presets import PRESETS

ONE_CYCLE_PEAK = 4.0
"""Peak of the one-cycle schedule, in learning rates that suit a constant one."""


HEADS = ("linear", "neural", "boosted")
"""Names of the regressors: EMRL-LR, EMRL-NN and EMRL-GB of the paper."""


@dataclass(kw_only=True)
class NetworkConfig:
    """What the embedding network is."""

    network: str = "tgnn"
    """Embedding network, a name in the registry of `emrl_ray.networks`."""
    width: int = 128
    """Numbers in an embedding."""
    cutoff: float | None = None
    """Longest pair distance, Å (default: the preset's)."""
    elements: Literal["mean", "reference"] = "mean"
    """Filling of unknown element properties: the column's mean and a mask, or the reference's zero."""
    basis: Literal["uniform", "reference"] = "uniform"
    """Distance basis: 32 Gaussians over 0 Å to the cutoff, or the reference's 8 from 3 Å on."""


@dataclass(kw_only=True)
class OptimizationConfig:
    """How the embedding network is trained."""

    loss: str = "emrl"
    """Loss on the embeddings, a name in the registry of `emrl_ray.losses`."""
    margin: float | None = None
    """Margin α of the loss (default: the preset's)."""
    batch_norm: Literal["shared", "three_pass"] = "shared"
    """Embed a batch once, or anchors, positives and negatives in passes with statistics of their own."""
    epochs: int = 400
    """Passes over the training set."""
    batch_size: int | None = None
    """Crystals in a global batch, over all workers (default: the preset's)."""
    learning_rate: float | None = None
    """Learning rate of Adam, for one_cycle its peak (default: the preset's, four times it for one_cycle)."""
    l2: float | None = None
    """L2 penalty (default: the preset's)."""
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    """Course of the learning rate."""
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    """Arithmetic of training; bfloat16 is mixed precision and needs a GPU."""
    seed: int = 0
    """Seed of weights, batches, triplets and heads."""

    def __post_init__(self) -> None:
        at_least("epochs", self.epochs, 1)
        if self.batch_size is not None:
            at_least("batch_size", self.batch_size, 3)
        if self.margin is not None:
            at_least("margin", self.margin, 0)
        if self.learning_rate is not None:
            above("learning_rate", self.learning_rate, 0)
        if self.l2 is not None:
            at_least("l2", self.l2, 0)


@dataclass(kw_only=True)
class TrainConfig(NetworkConfig, OptimizationConfig, Resumable, CrystalLimits):
    """Train an embedding network and its heads on a crystals table."""

    crystals: str = positional()
    """Crystals table with the target."""
    target: str
    """Column to learn."""
    out: str
    """Folder for the model."""
    preset: str | None = None
    """Hyperparameters of SI Table 2 by name; options given beside it come first."""
    heads: list[str] = field(default_factory=lambda: list(HEADS))
    """Regressors to fit on the embedding: linear, neural, boosted."""
    calibration: float = 0.1
    """Share of the rows kept from network and heads for the intervals; 0 makes a model without."""
    test: float = 0.0
    """Share of the rows held out and scored after training."""
    split: Literal["random", "formula"] = "random"
    """How rows are held out: at random, or whole compositions together."""
    graphs: str | None = None
    """Graphs table made by featurize (default: made on the way)."""
    address: str | None = None
    """Ray cluster to join; none starts a local one, except in a submitted job, which joins its own."""
    workers: int = 1
    """Data parallel workers."""
    cpus_per_worker: int = 1
    """CPUs (and threads) of one worker."""
    gpu: bool = False
    """Give each worker a GPU."""
    checkpoint_every: int = 10
    """Epochs between checkpoints."""
    max_failures: int = 3
    """Lost workers to recover from before giving up."""

    def __post_init__(self) -> None:
        OptimizationConfig.__post_init__(self)
        CrystalLimits.__post_init__(self)
        if self.preset is not None and self.preset not in PRESETS:
            raise ConfigError(f"--preset {self.preset}: choose from {', '.join(PRESETS)}")
        for head in self.heads or [""]:
            if head not in HEADS:
                raise ConfigError(f"--heads {head}: choose from {', '.join(HEADS)}")
        between("calibration", self.calibration, 0, 0.5)
        between("test", self.test, 0, 0.9)
        for option in ("width", "workers", "cpus_per_worker", "checkpoint_every"):
            at_least(option, getattr(self, option), 1)
        if self.precision == "bfloat16" and not self.gpu:
            raise ConfigError("--precision bfloat16: needs --gpu")
        self._fill_from_preset()

    def _fill_from_preset(self) -> None:
        preset = PRESETS[self.preset or "HOIP"]
        if self.learning_rate is None and self.schedule == "one_cycle":
            self.learning_rate = ONE_CYCLE_PEAK * preset.learning_rate
        for entry in fields(preset):
            if getattr(self, entry.name) is None:
                setattr(self, entry.name, getattr(preset, entry.name))
        assert self.cutoff is not None
        above("cutoff", self.cutoff, 0)
        if self.basis == "reference" and self.cutoff <= 3:
            raise ConfigError(f"--cutoff {self.cutoff}: the reference basis needs more than 3 Å")
