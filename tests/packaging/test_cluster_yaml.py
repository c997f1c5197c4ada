"""cluster.yaml is what Ray's launcher takes, and what it says of itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT

POLICIES = ROOT / "deploy" / "aws"


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def test_rays_launcher_accepts_the_file(cluster):
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(cluster))


def test_an_unknown_key_would_be_refused(cluster):
    from ray.autoscaler._private.util import prepare_config, validate_config

    with pytest.raises(Exception, match="idle_minutes"):
        validate_config(prepare_config(cluster | {"idle_minutes": 5}))


def test_the_head_offers_no_cpu_and_is_no_spot_node(cluster):
    head = cluster["available_node_types"][cluster["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    assert "InstanceMarketOptions" not in head["node_config"]


@pytest.mark.parametrize(("group", "resource"), [("cpu_spot", "CPU"), ("gpu_spot", "GPU")])
def test_workers_are_spot_nodes_that_come_and_go(cluster, group, resource):
    node_type = cluster["available_node_types"][group]
    assert node_type["min_workers"] == 0 < node_type["max_workers"]
    assert node_type["resources"][resource] > 0
    assert node_type["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}


def test_images_are_pinned_to_the_ray_of_the_constraints(cluster):
    (pinned,) = [
        line.removeprefix("ray==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line.startswith("ray==")
    ]
    images = [
        image
        for docker in (cluster["docker"], cluster["available_node_types"]["gpu_spot"]["docker"])
        for key, image in docker.items()
        if key.endswith("image")
    ]
    assert len(images) == 3
    assert all(image.startswith(f"rayproject/ray:{pinned}-py311-") for image in images)


def test_the_rights_of_head_and_launcher_are_for_the_roles_of_the_file(cluster):
    passed = {}
    for name in ("launcher", "head"):
        statements = json.loads((POLICIES / f"{name}.json").read_text())["Statement"]
        (passing,) = [one for one in statements if one["Action"] == "iam:PassRole"]
        passed[name] = passing["Resource"].rpartition("/")[2]
    profiles = {
        group: node["node_config"]["IamInstanceProfile"]["Name"]
        for group, node in cluster["available_node_types"].items()
    }
    assert passed["launcher"] == profiles.pop("head")
    assert {passed["head"]} == set(profiles.values())
