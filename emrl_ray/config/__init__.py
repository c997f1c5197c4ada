"""The configuration of every verb: a field is a YAML key, a command line option and its help.

Fields marked `positional` may also be given by position on the command line. Options that
contradict each other are refused when the object is made, in one line.
"""

from __future__ import annotations

from emrl_ray.config.base import ClusterOptions, CrystalLimits, Resumable, positional
from emrl_ray.config.errors import UserError
from emrl_ray.config.fetch import FetchConfig
from emrl_ray.config.generate import GenerateConfig
from emrl_ray.config.inference import (
    EmbedConfig,
    EvaluateConfig,
    LocalOptions,
    MapConfig,
    NeighborsConfig,
    PredictConfig,
)
from emrl_ray.config.ingest import FeaturizeConfig, IngestConfig
from emrl_ray.config.nightly import NightlyConfig
from emrl_ray.config.screen import DemoConfig, DiffConfig, ReportConfig, ScreenConfig
from emrl_ray.config.train import (
    HEADS,
    ONE_CYCLE_PEAK,
    BenchmarkConfig,
    NetworkConfig,
    OptimizationConfig,
    TrainConfig,
)
from emrl_ray.config.tune import TuneConfig

__all__ = [
    "HEADS",
    "ONE_CYCLE_PEAK",
    "BenchmarkConfig",
    "ClusterOptions",
    "CrystalLimits",
    "DemoConfig",
    "DiffConfig",
    "EmbedConfig",
    "EvaluateConfig",
    "FeaturizeConfig",
    "FetchConfig",
    "GenerateConfig",
    "IngestConfig",
    "LocalOptions",
    "MapConfig",
    "NeighborsConfig",
    "NetworkConfig",
    "NightlyConfig",
    "OptimizationConfig",
    "PredictConfig",
    "ReportConfig",
    "Resumable",
    "ScreenConfig",
    "TrainConfig",
    "TuneConfig",
    "UserError",
    "positional",
]
