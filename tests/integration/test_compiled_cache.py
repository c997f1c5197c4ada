"""What was compiled once is kept for the next process."""

from __future__ import annotations

import os
import subprocess
import sys


def test_a_second_process_compiles_nothing_whatever_cells_it_meets(tmp_path):
    program = (
        "import numpy as np\n"
        "from emrl_ray.crystals.batch import CrystalBatch\n"
        "from emrl_ray.crystals.geometry.neighbor_list import unordered_pairs\n"
        "from emrl_ray.crystals.geometry import kernels\n"
        "one = np.array([3], np.uint8), np.zeros((1, 3)), np.array([0, 1])\n"
        "for lattice in np.eye(3), np.array([[1, 0, 0], [9, 1, 0], [0, 9, 1.0]]):\n"
        "    batch = CrystalBatch(4 * lattice[None], *one)\n"
        "    unordered_pairs(batch, 5.0), unordered_pairs(batch.read_only(), 5.0)\n"
        "stats = kernels.search_on.stats\n"
        "print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))\n"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (
        subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        for _ in range(2)
    )
    assert first == ["0", "1"]
    assert second == ["1", "0"]
