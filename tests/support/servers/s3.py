"""An S3 server of our own: what it is called, how it starts, and what lies in it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

ENDPOINT = "AWS_ENDPOINT_URL"
PATIENCE = 240.0
"""Seconds in which the server must answer."""
KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def reserve_endpoint() -> socket.socket:
    """Say in the environment where the server will be, so that a Ray that starts now knows it.

    No test can reach another object store then, nor use keys of whoever runs it. Until the server
    starts, the socket that is returned keeps its port from everybody else.
    """
    place = socket.create_server(("127.0.0.1", 0))
    os.environ[ENDPOINT] = f"http://127.0.0.1:{place.getsockname()[1]}"
    os.environ.update(KEYS)
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION"):
        os.environ.pop(name, None)
    return place


@contextmanager
def serving(place: socket.socket) -> Iterator[str]:
    """Context: the server runs where `reserve_endpoint` said; yields its address.

    It is a process of its own: deltalake holds the interpreter while it asks, and a server in the same
    process could not answer.
    """
    host, port = place.getsockname()
    place.close()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "--host", host, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(server, os.environ[ENDPOINT])
        yield os.environ[ENDPOINT]
    finally:
        server.kill()
        server.wait()


def _wait_for(server: subprocess.Popen[bytes], address: str) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        assert server.poll() is None, "the S3 server ended by itself"
        try:
            requests.get(f"{address}/moto-api/", timeout=PATIENCE).raise_for_status()
        except requests.ConnectionError:
            assert time.monotonic() < end, "the S3 server does not answer"
            time.sleep(0.1)
        else:
            return


def client(service: str = "s3", **options: Any) -> Any:
    """Return a client of the server, with the keys of the environment; the package uses another one."""
    import boto3

    return boto3.Session().client(service, endpoint_url=os.environ[ENDPOINT], **options)


class Bucket:
    """A bucket of the server, seen by its own client."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.s3 = client()
        self.s3.create_bucket(Bucket=name)

    def uri(self, key: str) -> str:
        """Return the URI of a key or prefix."""
        return f"s3://{self.name}/{key}"

    def put(self, key: str, content: bytes) -> None:
        """Write an object."""
        self.s3.put_object(Bucket=self.name, Key=key, Body=content)

    def get(self, key: str) -> bytes:
        """Return the content of an object."""
        return self.s3.get_object(Bucket=self.name, Key=key)["Body"].read()

    def keys(self, prefix: str = "") -> list[str]:
        """Return the keys that begin with `prefix`, without those that stand for folders."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        found = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return [key for key in found if not key.endswith("/")]

    def contents(self, prefix: str) -> dict[str, bytes]:
        """Return what lies below a prefix, by the rest of the key."""
        return {key.removeprefix(prefix): self.get(key) for key in self.keys(prefix)}


@contextmanager
def permitted(policy: Path, bucket: str = "my-bucket") -> Iterator[dict[str, str]]:
    """Context: the server lets whoever asks do what an IAM policy allows, and nothing else; yields the keys.

    `bucket` takes the place of the policy's own. Conditions are left out, and EC2's instances are all one,
    as the server does not tell them apart; and it asks for other rights than AWS in two places, which are
    added: HeadBucket, where AWS has ListBucket, and DeleteObject of the bucket for a request that deletes
    several objects.
    """
    content = json.loads(policy.read_text().replace("my-bucket", bucket))
    for statement in content["Statement"]:
        statement.pop("Condition", None)
        if statement["Resource"].startswith("arn:aws:ec2:"):
            statement["Resource"] = "*"
    content["Statement"].append(
        {
            "Effect": "Allow",
            "Action": ["s3:HeadBucket", "s3:DeleteObject"],
            "Resource": f"arn:aws:s3:::{bucket}",
        }
    )
    user, iam = uuid.uuid4().hex, client("iam")
    with _checking("inf"):
        iam.create_user(UserName=user)
        iam.put_user_policy(UserName=user, PolicyName="only", PolicyDocument=json.dumps(content))
        key = iam.create_access_key(UserName=user)["AccessKey"]
    keys = {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }
    before = {name: os.environ[name] for name in keys}
    os.environ.update(keys)
    try:
        with _checking("0"):
            yield keys
    finally:
        os.environ.update(before)


@contextmanager
def _checking(after: str) -> Iterator[None]:
    """Context: the server checks rights after so many requests."""
    address = f"{os.environ[ENDPOINT]}/moto-api/reset-auth"
    before = requests.post(address, data=after, timeout=30).json()
    try:
        yield
    finally:
        requests.post(address, data=before["PREVIOUS_INITIAL_NO_AUTH_ACTION_COUNT"], timeout=30)
