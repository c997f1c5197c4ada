"""The script for Slurm, with stand-ins for the commands of Slurm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.models import make_model, random_crystals, write_library
from tests.support.paths import ROOT

BIN = Path(sys.executable).parent
SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""


SCONTROL = """#!/usr/bin/env bash
[ "$1 $2 $3" = "show hostnames node[1-2]" ] && printf '127.0.0.1\\n127.0.0.1\\n'
"""


SCRIPT = """
import sys, time
import ray
from emrl_ray import cli
from emrl_ray.distributed.cluster import connect
connect()
while len([node for node in ray.nodes() if node["Alive"]]) < 2:
    time.sleep(0.2)
print("nodes: 2", flush=True)
sys.exit(cli.run("screen", sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_script_for_slurm_runs_a_verb_on_the_nodes_and_leaves_nothing_behind(tmp_path):
    """Slurm's commands are stand-ins that start what they are given here; the two nodes of Ray are real."""
    for name, content in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "verb.py").write_text(SCRIPT)
    job = str(os.getpid())
    result = subprocess.run(
        [
            *(ROOT / "deploy" / "slurm.sh", tmp_path / "verb.py", make_model(tmp_path / "model")),
            write_library(tmp_path / "library", random_crystals(60), [60]),
            *("--out", tmp_path / "run", "--maximize", "--top", "5", "--block-rows", "10"),
        ],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "PATH": f"{tmp_path}:{BIN}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "SLURM_JOB_ID": job,
            "SLURM_JOB_NODELIST": "node[1-2]",
            "SLURM_CPUS_PER_TASK": "1",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "nodes: 2" in result.stdout
    counts = json.loads((tmp_path / "run" / "manifest.json").read_text())["counts"]
    assert counts["rows_in"] == 60
    left = [
        one.info for one in psutil.process_iter(["cmdline"]) if f"/tmp/ray-{job}/" in str(one.info)
    ]
    assert left == []


def test_the_script_for_slurm_says_how_it_is_used():
    result = subprocess.run(
        [ROOT / "deploy" / "slurm.sh"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr == "usage: sbatch deploy/slurm.sh jobs/VERB.py [options of the verb]\n"
