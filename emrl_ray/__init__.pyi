"""Signatures of the Python functions; docs/write_signatures.py writes them."""

from typing import Literal

from emrl_ray.commands.benchmark import BenchmarkResult
from emrl_ray.commands.demo import DemoResult
from emrl_ray.commands.embed import EmbedResult
from emrl_ray.commands.evaluate import EvaluateResult
from emrl_ray.commands.featurize import FeaturizeResult
from emrl_ray.commands.fetch import FetchResult
from emrl_ray.commands.generate import GenerateResult
from emrl_ray.commands.ingest import IngestResult
from emrl_ray.commands.map import MapResult
from emrl_ray.commands.neighbors import NeighborsResult
from emrl_ray.commands.nightly.command import NightlyResult
from emrl_ray.commands.predict import PredictResult
from emrl_ray.commands.screen.command import ScreenResult
from emrl_ray.commands.train import TrainResult
from emrl_ray.commands.tune import TuneResult
from emrl_ray.config.base import EngineChoice
from emrl_ray.config.search_space import Space
from emrl_ray.screening.shortlist_diff import ShortlistDiff

__version__: str

def demo(
    *,
    out: str = ...,
    seed: int = ...,
) -> DemoResult:
    """Run the whole journey on generated crystals with an exactly known property."""

def ingest(
    *,
    max_atoms: int = ...,
    max_pairs: int = ...,
    min_distance: float = ...,
    address: str | None = ...,
    workers: int | None = ...,
    cpus_per_worker: int = ...,
    engine: EngineChoice = ...,
    overwrite: bool = ...,
    sources: list[str],
    out: str,
    targets: str | None = ...,
    target_names: list[str] = ...,
    unit: str | None = ...,
    theory: str | None = ...,
    cif_column: str = ...,
    id_column: str = ...,
    timeout: float = ...,
    cutoff: float = ...,
    files_per_partition: int = ...,
) -> IngestResult:
    """Read crystals from files into a crystals table."""

def fetch(
    *,
    max_atoms: int = ...,
    max_pairs: int = ...,
    min_distance: float = ...,
    overwrite: bool = ...,
    out: str,
    ids: str | None = ...,
    id_column: str | None = ...,
    chemsys: list[str] = ...,
    elements: list[str] = ...,
    exclude_elements: list[str] = ...,
    band_gap: str | None = ...,
    energy_above_hull: str | None = ...,
    formation_energy_per_atom: str | None = ...,
    nelements: str | None = ...,
    num_sites: str | None = ...,
    is_stable: bool = ...,
    all: bool = ...,
    optimade: str | None = ...,
    filter: str | None = ...,
    fields: list[str] = ...,
    theory: str | None = ...,
    endpoint: str | None = ...,
    cutoff: float = ...,
    block_rows: int = ...,
    parallel: int = ...,
    attempts: int = ...,
    patience: float = ...,
    request_timeout: float = ...,
) -> FetchResult:
    """Fetch crystals and properties from the Materials Project or an OPTIMADE server."""

def generate(
    *,
    address: str | None = ...,
    workers: int | None = ...,
    cpus_per_worker: int = ...,
    engine: EngineChoice = ...,
    overwrite: bool = ...,
    out: str,
    count: int = ...,
    parents: str | None = ...,
    threshold: float | None = ...,
    a: list[str] = ...,
    b: list[str] = ...,
    x: list[str] = ...,
    tolerance: str | None = ...,
    octahedral: str | None = ...,
    exclude_elements: list[str] = ...,
    only_elements: list[str] = ...,
    max_elements: int | None = ...,
    max_atoms: int = ...,
    known: str | None = ...,
    known_crystals: Literal["mark", "drop"] = ...,
    seed: int = ...,
    strain: float | None = ...,
    part: str = ...,
    label: Literal["none", "ewald"] = ...,
    block_rows: int = ...,
) -> GenerateResult:
    """Generate candidate crystals: prototypes with ions, known crystals with other ions, or perovskites."""

def featurize(
    *,
    max_atoms: int = ...,
    max_pairs: int = ...,
    min_distance: float = ...,
    address: str | None = ...,
    workers: int | None = ...,
    cpus_per_worker: int = ...,
    engine: EngineChoice = ...,
    overwrite: bool = ...,
    crystals: str,
    out: str,
    cutoff: float = ...,
    block_rows: int = ...,
) -> FeaturizeResult:
    """Find the pairs of a crystals table and write the graphs table that training reads."""

def train(
    *,
    max_atoms: int = ...,
    max_pairs: int = ...,
    min_distance: float = ...,
    overwrite: bool = ...,
    loss: str = ...,
    margin: float | None = ...,
    batch_norm: Literal["shared", "three_pass"] = ...,
    epochs: int = ...,
    batch_size: int | None = ...,
    batch_pairs: int | None = ...,
    learning_rate: float | None = ...,
    l2: float | None = ...,
    schedule: Literal["one_cycle", "constant"] = ...,
    precision: Literal["float32", "bfloat16", "float64"] = ...,
    seed: int = ...,
    network: str = ...,
    width: int = ...,
    cutoff: float | None = ...,
    elements: Literal["mean", "reference"] = ...,
    basis: Literal["uniform", "reference"] = ...,
    crystals: str,
    target: str,
    out: str,
    init: str | None = ...,
    preset: str | None = ...,
    heads: list[str] = ...,
    calibration: float = ...,
    test: float = ...,
    split: Literal["random", "formula"] = ...,
    min_occurrences: int = ...,
    graphs: str | None = ...,
    engine: EngineChoice = ...,
    address: str | None = ...,
    workers: int = ...,
    min_workers: int | None = ...,
    cpus_per_worker: int = ...,
    gpu: bool = ...,
    graphs_memory: float = ...,
    checkpoint_every: int = ...,
    max_failures: int = ...,
) -> TrainResult:
    """Train an embedding network and its heads on a crystals table."""

def tune(
    *,
    max_atoms: int = ...,
    max_pairs: int = ...,
    min_distance: float = ...,
    overwrite: bool = ...,
    crystals: str,
    target: str,
    out: str,
    search: list[str] = ...,
    preset: str | None = ...,
    margin: Space | None = ...,
    learning_rate: Space | None = ...,
    l2: Space | None = ...,
    batch_size: Space | None = ...,
    cutoff: Space | None = ...,
    width: Space | None = ...,
    network: Space | None = ...,
    loss: Space | None = ...,
    trials: int = ...,
    epochs: int = ...,
    grace: int = ...,
    reduction: int = ...,
    validate_every: int = ...,
    validation: float = ...,
    head: Literal["linear", "neural", "boosted"] = ...,
    test: float = ...,
    calibration: float = ...,
    split: Literal["random", "formula"] = ...,
    elements: Literal["mean", "reference"] = ...,
    basis: Literal["uniform", "reference"] = ...,
    batch_norm: Literal["shared", "three_pass"] = ...,
    batch_pairs: int | None = ...,
    schedule: Literal["one_cycle", "constant"] = ...,
    precision: Literal["float32", "bfloat16", "float64"] = ...,
    seed: int = ...,
    address: str | None = ...,
    workers: int = ...,
    cpus_per_worker: int = ...,
    gpu: bool = ...,
    max_concurrent: int | None = ...,
    max_failures: int = ...,
) -> TuneResult:
    """Search the hyperparameters of train on validation rows, each trial a training of its own."""

def predict(
    *,
    max_atoms: int = ...,
    max_pairs: int = ...,
    min_distance: float = ...,
    cif_column: str = ...,
    threads: int | None = ...,
    model: str,
    source: str,
    out: str | None = ...,
    head: str | None = ...,
    confidence: float = ...,
) -> PredictResult:
    """Predict on this machine, without a cluster."""

def evaluate(
    *,
    max_atoms: int = ...,
    max_pairs: int = ...,
    min_distance: float = ...,
    cif_column: str = ...,
    threads: int | None = ...,
    model: str,
    crystals: str,
    target: str | None = ...,
    head: str | None = ...,
    confidence: float = ...,
    out: str | None = ...,
) -> EvaluateResult:
    """Compare predictions with known values: error, intervals, and where a model fails."""

def embed(
    *,
    max_atoms: int = ...,
    max_pairs: int = ...,
    min_distance: float = ...,
    cif_column: str = ...,
    threads: int | None = ...,
    model: str,
    source: str,
    out: str,
) -> EmbedResult:
    """Write the embedding of each crystal: the numbers that a model sees it as."""

def neighbors(
    *,
    max_atoms: int = ...,
    max_pairs: int = ...,
    min_distance: float = ...,
    cif_column: str = ...,
    threads: int | None = ...,
    model: str,
    source: str,
    count: int = ...,
    out: str | None = ...,
) -> NeighborsResult:
    """List the nearest known crystals: those that a model sees as most alike, with their values."""

def screen(
    *,
    max_atoms: int = ...,
    max_pairs: int = ...,
    min_distance: float = ...,
    address: str | None = ...,
    workers: int | None = ...,
    cpus_per_worker: int = ...,
    engine: EngineChoice = ...,
    overwrite: bool = ...,
    model: str,
    crystals: str,
    out: str,
    head: str | None = ...,
    target_window: str | None = ...,
    and_model: str | None = ...,
    target_window2: str | None = ...,
    objectives: list[dict[str, str]] = ...,
    maximize: bool = ...,
    minimize: bool = ...,
    exclude_elements: list[str] = ...,
    only_elements: list[str] = ...,
    in_domain: bool = ...,
    exclude_known: bool = ...,
    per_system: int | None = ...,
    diverse: bool = ...,
    supply_risk: bool = ...,
    confidence: float = ...,
    top: int = ...,
    block_rows: int = ...,
    format: Literal["parquet", "delta"] = ...,
    table: str | None = ...,
    run_id: str | None = ...,
) -> ScreenResult:
    """Predict and rank a whole library of candidates."""

def diff(
    *,
    before: str,
    after: str,
    out: str | None = ...,
) -> ShortlistDiff:
    """Say what entered, left and moved between the shortlists of two runs."""

def nightly(
    *,
    out: str,
    night: str | None = ...,
    ingest: dict = ...,
    screen: dict = ...,
) -> NightlyResult:
    """Read the files that are new since the last night, screen them, and rank them among all nights'."""

def report(
    *,
    run: str,
    model: str | None = ...,
) -> str:
    """Write the HTML report of a finished screening run anew."""

def map(
    *,
    max_atoms: int = ...,
    max_pairs: int = ...,
    min_distance: float = ...,
    models: list[str],
    crystals: str,
    out: str,
    color: list[str] = ...,
    rows: int = ...,
    perplexity: float = ...,
    seed: int = ...,
    threads: int | None = ...,
) -> MapResult:
    """Draw crystals as models see them: a 2-D map of each model's embeddings, side by side."""

def benchmark(
    *,
    address: str | None = ...,
    workers: int | None = ...,
    cpus_per_worker: int = ...,
    dataset: list[str] = ...,
    data: str | None = ...,
    crystals: str | None = ...,
    target: str | None = ...,
    preset: str | None = ...,
    methods: list[str] = ...,
    repeats: int = ...,
    first_seed: int = ...,
    split: Literal["random", "formula"] = ...,
    epochs: int = ...,
    out_of_fold: int = ...,
    out: str,
    tables: str | None = ...,
    transfer: str | None = ...,
    transfer_epochs: int | None = ...,
    gpus_per_worker: float = ...,
) -> BenchmarkResult:
    """Compare methods on data sets by the paper's protocol."""
