"""What deploy/ and the Dockerfile say is what the systems they are written for take, as far as that shows here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.support.paths import ROOT

BIN = Path(sys.executable).parent
KUBERNETES = "1.34"

QUANTITIES = {"type": "object", "additionalProperties": {"type": "string"}}
TEMPLATE = {"type": "object", "required": ["spec"]}
"""What is in it is for the schema of Kubernetes."""


def of(required: list[str], **properties: object) -> dict[str, object]:
    """Return the schema of an object that has no other properties."""
    kinds = {
        name: {"type": kind} if isinstance(kind, str) else kind for name, kind in properties.items()
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": kinds,
    }


WORKER_GROUP = of(
    ["groupName", "rayStartParams", "template"],
    groupName="string",
    replicas="integer",
    minReplicas="integer",
    maxReplicas="integer",
    rayStartParams=QUANTITIES,
    template=TEMPLATE,
)
RAY_CLUSTER = of(
    ["rayVersion", "headGroupSpec"],
    rayVersion="string",
    authOptions=of(["mode"], mode={"enum": ["disabled", "token"]}),
    enableInTreeAutoscaling="boolean",
    autoscalerOptions=of([], idleTimeoutSeconds="integer"),
    headGroupSpec=of(["rayStartParams", "template"], rayStartParams=QUANTITIES, template=TEMPLATE),
    workerGroupSpecs={"type": "array", "items": WORKER_GROUP},
)
RAY_JOB = of(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=of(["name"], name="string"),
    spec=of(
        ["entrypoint", "rayClusterSpec"],
        entrypoint="string",
        backoffLimit="integer",
        activeDeadlineSeconds="integer",
        shutdownAfterJobFinishes="boolean",
        ttlSecondsAfterFinished="integer",
        rayClusterSpec=RAY_CLUSTER,
    ),
)
"""The fields of a RayJob that we use, written after KubeRay's reference: no package ships its schema."""


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text())


def pinned(package: str) -> str:
    """Return the version of a package that constraints.txt names."""
    (version,) = re.findall(rf"(?m)^{package}==(.+)$", (ROOT / "constraints.txt").read_text())
    return version


def parts(content: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value below a YAML's content with its path."""
    yield path, content
    children: Any = ()
    if isinstance(content, dict):
        children = content.items()
    elif isinstance(content, list):
        children = enumerate(content)
    for key, value in children:
        yield from parts(value, f"{path}.{key}")


@pytest.fixture(scope="module")
def compute_api() -> dict[str, Any]:
    """The schemas of the Compute Engine API, as Google's own client ships them."""
    import googleapiclient

    folder = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
    return json.loads((folder / "compute.v1.json").read_text())["schemas"]


def check_by(schemas: dict[str, Any], schema: dict[str, Any], value: Any, path: str) -> None:
    """Check a value against a schema of a discovery document."""
    schema = schemas[schema["$ref"]] if "$ref" in schema else schema
    kind = schema["type"]
    if kind == "object":
        assert isinstance(value, dict), path
        for key, entry in value.items():
            assert key in schema["properties"], f"{path}.{key}: no such field"
            check_by(schemas, schema["properties"][key], entry, f"{path}.{key}")
    elif kind == "array":
        assert isinstance(value, list), path
        for entry in value:
            check_by(schemas, schema["items"], entry, path)
    else:
        python = {"string": str, "boolean": bool, "integer": int}[kind]
        assert isinstance(value, python), f"{path}: {value!r} is no {kind}"
        assert value in schema.get("enum", [value]), f"{path}: {value!r}"


def test_rays_launcher_accepts_the_file_for_google_cloud():
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(read("deploy/gcp.yaml")))


def test_nodes_on_google_cloud_are_instances_of_its_api(compute_api):
    for name, group in read("deploy/gcp.yaml")["available_node_types"].items():
        check_by(compute_api, {"$ref": "Instance"}, group["node_config"], name)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"machinetype": "n2-standard-4"}, "machinetype: no such field"),
        ({"scheduling": [{"preemptible": True}]}, "scheduling"),
        ({"scheduling": {"provisioningModel": "CHEAP"}}, "'CHEAP'"),
    ],
)
def test_what_is_no_instance_would_be_found(compute_api, wrong, message):
    with pytest.raises(AssertionError, match=message):
        check_by(compute_api, {"$ref": "Instance"}, wrong, "node")


def test_google_cloud_gets_the_cluster_that_aws_gets():
    ours, theirs = read("deploy/gcp.yaml"), read("cluster.yaml")
    assert ours["available_node_types"].keys() == theirs["available_node_types"].keys()
    for name, group in ours["available_node_types"].items():
        assert group["resources"] == theirs["available_node_types"][name]["resources"]
        spot = group["node_config"].get("scheduling", {}).get("provisioningModel") == "SPOT"
        assert spot == (name != "head")
    same = ("max_workers", "docker", "file_mounts", "rsync_exclude", "head_start_ray_commands")
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}


@pytest.fixture(scope="module")
def ray_job() -> dict[str, Any]:
    return read("deploy/kuberay-rayjob.yaml")


def pods(ray_job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the pod templates of a RayJob's cluster by the name of their group."""
    cluster = ray_job["spec"]["rayClusterSpec"]
    groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    return {
        name: group["template"]
        for name, group in {"head": cluster["headGroupSpec"], **groups}.items()
    }


def check_pod(template: dict[str, Any]) -> None:
    """Check a pod template by the schema of Kubernetes, which knows every field."""
    template = {"metadata": {"name": "x"}, **template}
    pod = {"apiVersion": "v1", "kind": "Pod", **template}
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_the_ray_job_has_the_fields_of_kuberay(ray_job):
    jsonschema.validate(ray_job, RAY_JOB)


def test_the_pods_of_the_ray_job_are_pods(ray_job):
    for template in pods(ray_job).values():
        check_pod(template)


def test_a_misspelt_field_of_a_ray_job_would_be_found(ray_job):
    broken = json.loads(json.dumps(ray_job))
    broken["spec"]["rayClusterSpec"]["enableInTreeAutoscaler"] = True
    with pytest.raises(jsonschema.ValidationError, match="enableInTreeAutoscaler"):
        jsonschema.validate(broken, RAY_JOB)
    template = pods(broken)["cpu-spot"]
    template["spec"]["nodeselector"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="nodeselector"):
        check_pod(template)


def test_the_ray_job_runs_a_job_of_ours_on_spot_workers_and_a_head_without_work(ray_job):
    spec = ray_job["spec"]
    python, script, *_ = spec["entrypoint"].split()
    assert python == "python"
    assert (ROOT / Path(script).relative_to("/home/ray/emrl_ray")).is_file()
    cluster = spec["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert [group["minReplicas"] for group in cluster["workerGroupSpecs"]] == [0]
    assert cluster["rayVersion"] == pinned("ray")


def test_images_have_the_ray_of_the_constraints():
    dockerfile = (ROOT / "Dockerfile").read_text()
    images = re.findall(r"rayproject/ray:\S+|emrl-ray:\S+", dockerfile)
    for name in ("cluster.yaml", "deploy/gcp.yaml", "deploy/kuberay-rayjob.yaml"):
        images += [value for path, value in parts(read(name)) if path.endswith("image")]
    assert len(images) == 12
    for image in images:
        name, _, tag = image.rpartition(":")
        assert tag.split("-")[0] == pinned("ray"), image
        assert name.endswith("emrl-ray") or "-py311-" in tag


def test_hadolint_finds_nothing_in_the_dockerfile():
    linted = subprocess.run(
        [BIN / "hadolint", "--no-color", "Dockerfile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_shellcheck_finds_nothing_in_the_script_for_slurm():
    linted = subprocess.run(
        [BIN / "shellcheck", "deploy/slurm.sh"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout
