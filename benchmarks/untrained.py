"""The floor of an untrained embedding: the same heads and splits on a network's first weights.

python benchmarks/untrained.py benchmarks/configs/hoip.yaml hoip.parquet --name hoip --seeds 0 1 2
"""

from __future__ import annotations

import tempfile

from arguments import RESULTS, read_arguments

from emrl_ray.config import FeaturizeConfig, TrainConfig
from emrl_ray.crystals.storage import locate, write_json
from emrl_ray.fitting import fit_model, read_labels, split_labels
from emrl_ray.machine import description
from emrl_ray.pipelines.featurize import featurize
from emrl_ray.pipelines.network import make_network


def main() -> None:
    """Fit the heads for every seed."""
    words, options = read_arguments(__doc__)
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
