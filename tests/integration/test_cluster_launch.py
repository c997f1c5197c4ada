"""Nodes of cluster.yaml start on a simulated EC2, with the rights that deploy/aws gives."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT
from tests.support.servers.s3 import client, permitted

POLICIES = ROOT / "deploy" / "aws"


@pytest.fixture(scope="module")
def launcher_file() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


@pytest.fixture(scope="module")
def bootstrapped(
    launcher_file: dict[str, Any], object_store: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What Ray's launcher makes of the file with the rights of the launcher: subnets, group, key."""
    from ray.autoscaler._private.providers import _get_node_provider_cls
    from ray.autoscaler._private.util import prepare_config

    for role in ("emrl-ray-head", "emrl-ray-node"):
        client("iam").create_instance_profile(InstanceProfileName=role)
    home = tmp_path_factory.mktemp("home")
    (home / ".ssh").mkdir()
    with pytest.MonkeyPatch.context() as changed, permitted(POLICIES / "launcher.json") as keys:
        changed.setenv("HOME", str(home))
        config = with_keys(prepare_config(launcher_file), keys)
        return _get_node_provider_cls(config["provider"]).bootstrap_config(config)


def with_keys(config: dict[str, Any], keys: dict[str, str]) -> dict[str, Any]:
    """Return the configuration for somebody's keys: Ray keeps clients of those that it knows."""
    credentials = {name.lower(): key for name, key in keys.items()}
    return {**config, "provider": {**config["provider"], "aws_credentials": credentials}}


def launched(config: dict[str, Any], groups: list[str]) -> list[dict[str, Any]]:
    """Launch a node of each group, as Ray does; return what EC2 says of them, and give them back."""
    from ray.autoscaler._private.providers import _get_node_provider

    provider = _get_node_provider(config["provider"], config["cluster_name"], use_cache=False)
    for group in groups:
        tags = {"ray-node-type": "worker", "ray-user-node-type": group, "ray-node-name": group}
        provider.create_node(config["available_node_types"][group]["node_config"], tags, 1)
    nodes = provider.non_terminated_nodes({"ray-node-type": "worker"})
    found = client("ec2").describe_instances(InstanceIds=nodes)["Reservations"]
    provider.terminate_nodes(nodes)
    assert provider.non_terminated_nodes({"ray-node-type": "worker"}) == []
    return [instance for reservation in found for instance in reservation["Instances"]]


def profile_of(instance: dict[str, Any]) -> str:
    return instance["IamInstanceProfile"]["Arn"].rpartition("/")[2]


def test_the_launchers_rights_start_the_head(bootstrapped):
    with permitted(POLICIES / "launcher.json") as keys:
        (head,) = launched(with_keys(bootstrapped, keys), ["head"])
    assert profile_of(head) == "emrl-ray-head"
    assert "InstanceLifecycle" not in head


def test_the_heads_rights_start_spot_nodes_that_have_fewer(bootstrapped):
    with permitted(POLICIES / "head.json") as keys:
        nodes = launched(with_keys(bootstrapped, keys), ["cpu_spot", "gpu_spot"])
    assert [node["InstanceType"] for node in nodes] == ["m7i.4xlarge", "g6.2xlarge"]
    assert {node["InstanceLifecycle"] for node in nodes} == {"spot"}
    assert {profile_of(node) for node in nodes} == {"emrl-ray-node"}


def test_a_nodes_rights_launch_nothing(bootstrapped):
    with (
        permitted(POLICIES / "node.json") as keys,
        pytest.raises(Exception, match="not authorized"),
    ):
        launched(with_keys(bootstrapped, keys), ["cpu_spot"])
