"""Compiles what numba compiles, once, before several processes of tests would do so at the same time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.paths import ROOT

STAMP = "emrl_ray/kernels"


def warm_kernels(config: pytest.Config) -> None:
    """Fill numba's cache in a process of its own, if a kernel has changed since the last time."""
    state, cache = _state(), getattr(config, "cache", None)
    if cache is None or cache.get(STAMP, None) == state:
        return
    print("compiling the kernels", flush=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", __name__], cwd=ROOT, env=environment, check=True)
    cache.set(STAMP, state)


def _state() -> str:
    """Return a digest of the kernels and of what they are compiled by."""
    import importlib.metadata

    digest = hashlib.sha256(f"{sys.version} {importlib.metadata.version('numba')} ".encode())
    digest.update(f"{ROOT} {os.environ.get('NUMBA_CACHE_DIR')}".encode())
    for file in sorted((ROOT / "emrl_ray").rglob("*.py")):
        content = file.read_bytes()
        if b"@njit" in content:
            digest.update(content)
    return digest.hexdigest()


def main() -> None:
    """Call each kernel with the types that the package calls it with."""
    import numpy as np

    from emrl_ray.commands.predict import predict
    from emrl_ray.config import PredictConfig, TrainConfig
    from emrl_ray.crystals.matching.structure_hash import structure_hashes
    from emrl_ray.features.element_properties import default_csv
    from emrl_ray.features.graphs import Graphs
    from emrl_ray.io.parquet import write_parquet
    from emrl_ray.io.paths import resolve
    from emrl_ray.networks.layers.collectives import SingleProcess
    from emrl_ray.training.trainer import Shard, Trainer, make_network
    from tests.support.crystals import random_batch
    from tests.support.models import make_model, random_crystals

    with tempfile.TemporaryDirectory() as folder:
        model, source = make_model(Path(folder) / "model"), Path(folder) / "crystals.parquet"
        write_parquet(random_crystals(20), resolve(source))
        predict(PredictConfig(model=model, source=str(source), out=f"{folder}/p.csv"))
    graphs = Graphs.from_crystals(random_batch(8), 5.0)
    for precision in ("float32", "float64"):
        config = TrainConfig(crystals="", target="y", out="", epochs=1, precision=precision)
        network = make_network(config, default_csv(), 0)
        shard = Shard(network.select(graphs), np.linspace(0, 1, 8), 0)
        trainer = Trainer(network, shard, config, SingleProcess())
        trainer.run(lambda _: None)
    network.compile().embed_graphs(graphs)
    structure_hashes(random_batch(8))


if __name__ == "__main__":
    main()
