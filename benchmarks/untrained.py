"""The floor of an untrained embedding: the same heads and splits on a network's first weights.

python benchmarks/untrained.py benchmarks/configs/hoip.yaml hoip.parquet --name hoip --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import yaml

from emrl_ray.config import FeaturizeConfig, TrainConfig
from emrl_ray.crystals.storage import locate, write_json
from emrl_ray.fitting import fit_model, read_labels, split_labels
from emrl_ray.machine import description
from emrl_ray.pipelines.featurize import featurize
from emrl_ray.pipelines.network import make_network

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Fit the heads for every seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="YAML of training options")
    parser.add_argument("crystals", help="crystals table")
    parser.add_argument("--name", required=True, help="folder of the results")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    words = parser.parse_args()
    options = yaml.safe_load(Path(words.config).read_text())
    with tempfile.TemporaryDirectory() as graphs:
        for seed in words.seeds:
            config = TrainConfig(crystals=words.crystals, out="", seed=seed, **options)
            assert config.cutoff is not None
            featurize(FeaturizeConfig(crystals=words.crystals, out=graphs, cutoff=config.cutoff))
            labels, _ = read_labels(graphs, config.target, words.crystals)
            split = split_labels(labels, config)
            state = {
                name: value.numpy() for name, value in make_network(config).state_dict().items()
            }
            card = fit_model(config, state, graphs, labels, split, "").card
            content = {"seed": seed, "metrics": card.metrics, "machine": description()}
            write_json(content, locate(RESULTS / words.name / f"untrained-{seed}.json"))
            print(seed, card.metrics["test"], flush=True)


if __name__ == "__main__":
    main()
