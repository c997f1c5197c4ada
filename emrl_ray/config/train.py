"""Networks, their training, and the verb train."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

from emrl_ray.config.base import (
    ClusterOptions,
    CrystalLimits,
    EngineChoice,
    Resumable,
    above,
    at_least,
    between,
    check_engine,
    positional,
)
from emrl_ray.config.errors import UserError
from emrl_ray.config.presets import PRESETS

ONE_CYCLE_PEAK = 4.0
"""Peak of the one-cycle schedule, in learning rates that suit a constant one."""


HEADS = ("linear", "neural", "boosted")
"""Names of the regressors: EMRL-LR, EMRL-NN and EMRL-GB of the paper."""


@dataclass(kw_only=True)
class NetworkConfig:
    """What the embedding network is."""

    network: str = "tgnn"
    """Embedding network: tgnn, gcn, gat, cgcnn, megnet, cgconv, or MODULE:NAME of a class of your own."""
    width: int = 128
    """Numbers in an embedding, at least 2: a map of it has two axes."""
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
    """Loss: emrl, slrl, l1, distance, rank_n_contrast, l1_distance, l1_rank_n_contrast, or MODULE:NAME of your own."""
    margin: float | None = None
    """Margin α of the loss (default: the preset's)."""
    batch_norm: Literal["shared", "three_pass"] = "shared"
    """Embed a batch once, or anchors, positives and negatives in passes with statistics of their own."""
    epochs: int = 400
    """Passes over the training set; 0 keeps the network of --init as it is."""
    batch_size: int | None = None
    """Crystals in a global batch, over all workers (default: the preset's)."""
    batch_pairs: int | None = None
    """Ordered pairs at which a batch ends early, so that it fits into memory (default: no limit)."""
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
        at_least("epochs", self.epochs, 0)
        if self.batch_size is not None:
            at_least("batch_size", self.batch_size, 3)
        if self.batch_pairs is not None:
            at_least("batch_pairs", self.batch_pairs, 1)
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
    init: str | None = None
    """Model whose network training starts from: learned for another property, or on other crystals."""
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
    min_occurrences: int = 1
    """Training crystals that an element, or two in contact, must be in to count as seen by the model."""
    graphs: str | None = None
    """Graphs table made by featurize (default: made on the way)."""
    engine: EngineChoice = "auto"
    """Train in this process (local) or on Ray; auto is local for up to 5,000 rows on one worker."""
    address: str | None = None
    """Ray cluster to join; none starts a local one, except in a submitted job, which joins its own."""
    workers: int = 1
    """Data parallel workers."""
    min_workers: int | None = None
    """Fewest workers that training goes on with while the cluster has no room for all (default: all)."""
    cpus_per_worker: int = 1
    """CPUs (and threads) of one worker."""
    gpu: bool = False
    """Give each worker a GPU."""
    graphs_memory: float = 4.0
    """GiB of graphs that a worker holds in memory; of more it reads each batch from a file on its own disk."""
    checkpoint_every: int = 10
    """Epochs between checkpoints; one is also written when a worker's node is about to be taken away."""
    max_failures: int = 3
    """Lost workers to recover from before giving up."""

    def __post_init__(self) -> None:
        OptimizationConfig.__post_init__(self)
        CrystalLimits.__post_init__(self)
        if self.preset is not None and self.preset not in PRESETS:
            raise UserError(f"--preset {self.preset}: choose from {', '.join(PRESETS)}")
        for head in self.heads or [""]:
            if head not in HEADS:
                raise UserError(f"--heads {head}: choose from {', '.join(HEADS)}")
        between("calibration", self.calibration, 0, 0.5)
        between("test", self.test, 0, 0.9)
        at_least("width", self.width, 2)
        for option in ("min_occurrences", "workers", "cpus_per_worker", "checkpoint_every"):
            at_least(option, getattr(self, option), 1)
        if self.min_workers is not None:
            at_least("min_workers", self.min_workers, 1)
            if self.min_workers > self.workers:
                raise UserError(
                    f"--min-workers {self.min_workers}: must be at most --workers {self.workers}"
                )
        check_engine(
            self.engine,
            workers=self.workers,
            address=self.address,
            min_workers=self.min_workers,
            gpu=self.gpu,
        )
        at_least("graphs_memory", self.graphs_memory, 0)
        if self.epochs == 0 and self.init is None:
            raise UserError("--epochs 0: needs --init MODEL, whose network is kept as it is")
        if self.precision == "bfloat16" and not self.gpu:
            raise UserError("--precision bfloat16: needs --gpu")
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
            raise UserError(f"--cutoff {self.cutoff}: the reference basis needs more than 3 Å")


@dataclass(kw_only=True)
class BenchmarkConfig(ClusterOptions):
    """Compare methods on data sets by the paper's protocol."""

    dataset: list[str] = field(default_factory=list)
    """Data sets of the paper by name: HOIP, MPS-FE, MPS-BG, MPL-FE, MPL-BG, and mpb."""
    data: str | None = None
    """Folder with the tables of these (default: data in the folder that EMRL_RAY_DATA names)."""
    crystals: str | None = None
    """Crystals table of one's own, instead of a data set; needs --target."""
    target: str | None = None
    """Column of --crystals to learn."""
    preset: str | None = None
    """Hyperparameters of SI Table 2 for --crystals (default: HOIP); a data set by name has its own."""
    methods: list[str] = field(default_factory=list)
    """Methods by name (default: all)."""
    repeats: int = 10
    """Splits of each data set."""
    first_seed: int = 0
    """Seed of the first split; the others follow."""
    split: Literal["random", "formula"] = "random"
    """How the fifth that is scored is drawn: at random, or whole compositions together."""
    epochs: int = 200
    """Passes over the training set, the same for every network."""
    out_of_fold: int = 0
    """Fit heads on embeddings by networks trained without the row, of so many folds; 0 is in-sample."""
    out: str
    """Folder for the results, a file a method and split; those that are there are not made again."""
    tables: str | None = None
    """Folder for the tables of all results (default: --out)."""
    transfer: str | None = None
    """Data set that a network learns first: compare it with one from scratch, on few labels and many."""
    transfer_epochs: int | None = None
    """Passes over that data set (default: --epochs)."""
    gpus_per_worker: float = 0.0
    """GPUs of one training; a fraction lets several share one."""

    def __post_init__(self) -> None:
        ClusterOptions.__post_init__(self)
        at_least("repeats", self.repeats, 1)
        at_least("first_seed", self.first_seed, 0)
        at_least("epochs", self.epochs, 1)
        at_least("gpus_per_worker", self.gpus_per_worker, 0)
        if self.out_of_fold == 1 or self.out_of_fold < 0:
            raise UserError(f"--out-of-fold {self.out_of_fold}: must be 0, or at least 2 folds")
        if bool(self.dataset) == (self.crystals is not None):
            raise UserError("give either --dataset NAME or --crystals TABLE")
        if (self.crystals is None) != (self.target is None):
            raise UserError("--crystals and --target: give both or neither")
        if self.transfer is not None:
            self._check_transfer()
        elif self.transfer_epochs is not None:
            raise UserError(f"--transfer-epochs {self.transfer_epochs}: needs --transfer")
        if self.transfer_epochs is not None:
            at_least("transfer_epochs", self.transfer_epochs, 1)
        if self.preset is not None and self.preset not in PRESETS:
            raise UserError(f"--preset {self.preset}: choose from {', '.join(PRESETS)}")
        if self.preset is not None and self.dataset:
            raise UserError(f"--preset {self.preset}: not with --dataset, which has its own")
        if self.data is not None and self.crystals is not None:
            raise UserError(f"--data {self.data}: not with --crystals, which is a table of its own")

    def _check_transfer(self) -> None:
        """Raise UserError for what a transfer, which is EMRL on random splits, does not take."""
        if self.crystals is not None or self.transfer in self.dataset:
            raise UserError(f"--transfer {self.transfer}: needs another --dataset to go to")
        for option, default in (("methods", []), ("split", "random"), ("out_of_fold", 0)):
            if getattr(self, option) != default:
                name = option.replace("_", "-")
                raise UserError(f"--{name} {getattr(self, option)}: not with --transfer")
