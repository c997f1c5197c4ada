"""A cluster without nodes gets them for a submitted job and gives them back after it: Ray's own autoscaler."""

from __future__ import annotations

import pytest

from benchmarks.scaling.autoscaling import small_screen, watch_screen
from benchmarks.scaling.fake_cluster import fake_cluster
from emrl_ray.io.paths import read_json, resolve

NODES = 2


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_submitted_screen_grows_the_cluster_from_nothing_and_leaves_nothing(tmp_path):
    run = tmp_path / "run"
    options = {**small_screen(tmp_path, 400), "out": str(run), "workers": NODES, "block_rows": 50}
    with fake_cluster(NODES) as address:
        watched = watch_screen(address, options, tmp_path, timeout=400)

    assert watched.exit_code == 0, watched.output
    nodes = [sample.nodes for sample in watched.samples]
    assert (nodes[0], max(nodes), nodes[-1]) == (0, NODES, 0)
    assert read_json(resolve(run) / "manifest.json")["counts"]["rows_in"] == 400
