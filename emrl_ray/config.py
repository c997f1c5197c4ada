"""The configuration of every verb: a field is a YAML key, a command line option and its help.

Fields marked `positional` may also be given by position on the command line. Options that
contradict each other are refused when the object is made, in one line.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from emrl_ray.presets import PRESETS


def positional(**options: Any) -> Any:
    """Return a dataclass field that the command line takes by position."""
    return field(metadata={"positional": True}, **options)


class ConfigError(ValueError):
    """A configuration that cannot be run; the message names the option, value and choices."""


@dataclass(kw_only=True)
class ClusterOptions:
    """Where and how wide to run."""

    address: str | None = None
    """Ray cluster to join; none starts a local one, except in a submitted job, which joins its own."""
    workers: int | None = None
    """Most worker processes at a time; none uses what the cluster offers."""
    cpus_per_worker: int = 1
    """CPUs (and threads) of one worker."""

    def __post_init__(self) -> None:
        if self.workers is not None:
            _at_least("workers", self.workers, 1)
        _at_least("cpus_per_worker", self.cpus_per_worker, 1)


@dataclass(kw_only=True)
class Resumable:
    """A job that goes on where an earlier call with the same options stopped."""

    overwrite: bool = False
    """Start anew and delete what an earlier run left."""


@dataclass(kw_only=True)
class CrystalLimits:
    """What a crystal may be at most."""

    max_atoms: int = 1000
    """Most atoms in a cell; larger ones are rejected."""
    max_pairs: int = 400_000
    """Most pairs within the cutoff that a cell may be expected to have."""
    min_distance: float = 0.3
    """Sites nearer than this (Å) overlap, and the crystal is rejected."""

    def __post_init__(self) -> None:
        _at_least("max_atoms", self.max_atoms, 1)
        _at_least("max_pairs", self.max_pairs, 1)
        _at_least("min_distance", self.min_distance, 0)


@dataclass(kw_only=True)
class IngestConfig(Resumable, ClusterOptions, CrystalLimits):
    """Read crystals from files into a crystals table."""

    sources: list[str] = positional()
    """Files, folders, globs or archives: CIF, POSCAR, extxyz, pymatgen JSON, CSV with a CIF column, Parquet."""
    out: str
    """Folder for the crystals table."""
    targets: str | None = None
    """CSV of targets: id_prop.csv without a header (id, value, ...) or a CSV with a header and an id column."""
    target_names: list[str] = field(default_factory=list)
    """Names for the columns of a CSV of targets without a header (default: target, target_2, ...)."""
    unit: str | None = None
    """Unit of the targets, kept in the table's metadata, such as eV or eV/atom."""
    theory: str | None = None
    """Level of theory of the targets, kept in the table's metadata, such as PBE or HSE06."""
    cif_column: str = "cif"
    """Column of a CSV source that holds the CIF text."""
    id_column: str = "id"
    """Column of a CSV or Parquet source that holds the ids; without it an id is a hash of the content."""
    timeout: float = 30.0
    """Seconds that one file may take before it is rejected."""
    cutoff: float = 5.0
    """Distance (Å) within which max_pairs counts the pairs."""
    files_per_slice: int = 500
    """Files that are read and committed together."""

    def __post_init__(self) -> None:
        ClusterOptions.__post_init__(self)
        CrystalLimits.__post_init__(self)
        if not self.sources:
            raise ConfigError("sources: name at least one file, folder, glob or archive")
        if self.target_names and self.targets is None:
            raise ConfigError(f"--target-names {' '.join(self.target_names)}: needs --targets")
        _above("timeout", self.timeout, 0)
        _above("cutoff", self.cutoff, 0)
        _at_least("files_per_slice", self.files_per_slice, 1)


@dataclass(kw_only=True)
class FeaturizeConfig(Resumable, ClusterOptions, CrystalLimits):
    """Find the pairs of a crystals table and write the graphs table that training reads."""

    crystals: str = positional()
    """Crystals table."""
    out: str
    """Folder for the graphs table."""
    cutoff: float = 5.0
    """Longest pair distance, Å."""
    block_rows: int = 2048
    """Crystals that are computed and committed together."""

    def __post_init__(self) -> None:
        ClusterOptions.__post_init__(self)
        CrystalLimits.__post_init__(self)
        _above("cutoff", self.cutoff, 0)
        _at_least("block_rows", self.block_rows, 1)


@dataclass(kw_only=True)
class LibraryConfig(Resumable, ClusterOptions):
    """Generate a library of candidate crystals from prototypes and ions."""

    out: str
    """Folder for the crystals table."""
    count: int = 20_000
    """Crystals to generate."""
    seed: int = 0
    """Seed of the choice of ions and of the strain."""
    strain: float = 0.03
    """Largest relative strain of the lattice."""
    part: str = "1/1"
    """Draw from part K/N of the compositions only; different parts have no composition in common."""
    label: Literal["none", "ewald"] = "none"
    """Exact property to add: the Ewald electrostatic energy per atom (eV/atom) of the formal charges."""
    block_rows: int = 2048
    """Crystals that are written together."""

    def __post_init__(self) -> None:
        ClusterOptions.__post_init__(self)
        _at_least("count", self.count, 1)
        _at_least("seed", self.seed, 0)
        _between("strain", self.strain, 0, 0.2)
        _at_least("block_rows", self.block_rows, 1)
        self.parts()

    def parts(self) -> tuple[int, int]:
        """Return the part to draw from as (K, N)."""
        try:
            number, parts = map(int, self.part.split("/"))
        except ValueError:
            number, parts = 0, 0
        if not 1 <= number <= parts:
            raise ConfigError(f"--part {self.part}: give K/N with 1 ≤ K ≤ N, as in 1/2")
        return number, parts


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
        _at_least("epochs", self.epochs, 1)
        if self.batch_size is not None:
            _at_least("batch_size", self.batch_size, 3)
        if self.margin is not None:
            _at_least("margin", self.margin, 0)
        if self.learning_rate is not None:
            _above("learning_rate", self.learning_rate, 0)
        if self.l2 is not None:
            _at_least("l2", self.l2, 0)


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
        _between("calibration", self.calibration, 0, 0.5)
        _between("test", self.test, 0, 0.9)
        for option in ("width", "workers", "cpus_per_worker", "checkpoint_every"):
            _at_least(option, getattr(self, option), 1)
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
        _above("cutoff", self.cutoff, 0)
        if self.basis == "reference" and self.cutoff <= 3:
            raise ConfigError(f"--cutoff {self.cutoff}: the reference basis needs more than 3 Å")


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
            _at_least("threads", self.threads, 1)


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
        _at_least("top", self.top, 1)
        _at_least("block_rows", self.block_rows, 1)
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


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _at_least(option: str, value: float, low: float) -> None:
    if not value >= low:
        raise ConfigError(f"{_option(option)} {value}: must be at least {low}")


def _above(option: str, value: float, low: float) -> None:
    if not value > low:
        raise ConfigError(f"{_option(option)} {value}: must be above {low}")


def _between(option: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{_option(option)} {value}: must lie in [{low}, {high}]")
