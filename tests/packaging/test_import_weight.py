"""What readers and heads load in an interpreter of their own, and what they can do without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from emrl_ray.model.heads import HEADS, neural
from tests.support.crystal_files import NACL

WIDTH = 6


def test_importing_and_predicting_needs_neither_torch_nor_xgboost(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(neural, "EPOCHS", 3)
    embeddings = np.random.default_rng(0).normal(size=(120, WIDTH)).astype(np.float32)
    targets = 40 + 7.0 * embeddings[:, 0]
    for name in ("linear", "neural"):
        head = HEADS[name]()
        head.fit(embeddings, targets)
        head.save(tmp_path)
    program = f"""
import pathlib, sys
import numpy as np
from emrl_ray.model.heads import HEADS
for name in ("linear", "neural"):
    HEADS[name].load(pathlib.Path({str(tmp_path)!r})).predict(np.zeros((2, {WIDTH}), np.float32))
print([name for name in ("torch", "xgboost", "sklearn", "ray") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_structures_of_databases_are_read_without_gemmi():
    code = "import sys, emrl_ray.sources.files.formats.structure_json, emrl_ray.sources.files.formats.optimade as o\n"
    code += "sys.exit('gemmi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_reading_cif_does_not_import_pymatgen():
    code = (
        "import sys; from emrl_ray.sources.files.formats.registry import Format, read_document\n"
        "read_document(sys.stdin.buffer.read(), Format.CIF)\n"
        "assert not {'pymatgen', 'ray', 'torch'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], input=NACL.encode(), check=True)


def test_without_ase_a_database_says_what_to_install(tmp_path):
    ase = pytest.importorskip("ase")
    from ase.db import connect

    with connect(tmp_path / "nlhm.db") as opened:
        opened.write(ase.Atoms("Na", cell=[5.0, 5, 5], pbc=True))
    code = (
        "import sys; sys.modules['ase'] = None; sys.modules['ase.db'] = None\n"
        "from emrl_ray.sources.files.planning import plan_partitions\n"
        "from emrl_ray.sources.files.listing import list_sources\n"
        "plan_partitions(list_sources([sys.argv[1]]), sys.argv[2], 500)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "nlhm.db", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "MissingPackageError" in done.stderr
    assert "pip install 'emrl-ray[ase]'" in done.stderr
