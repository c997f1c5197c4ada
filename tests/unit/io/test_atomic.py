"""Places: local paths and URIs of object stores."""

from __future__ import annotations

import re

import pytest

from emrl_ray.io.paths import absolute_uri, resolve


@pytest.mark.parametrize(
    ("uri", "root"),
    [
        ("s3://bucket/out", "s3://bucket/out"),
        ("s3://bucket/out/", "s3://bucket/out"),
        ("s3://bucket/out?region=here", "s3://bucket/out?region=here"),
        ("/data/out/", "/data/out"),
    ],
)
def test_a_name_may_follow_an_absolute_place(uri, root):
    assert absolute_uri(uri) == root


def test_a_local_path_is_one_from_the_root_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_uri("out") == str(tmp_path / "out")


@pytest.mark.parametrize("uri", ["s4://bucket/out", "s3:///out", "s3://a bucket/out"])
def test_a_uri_that_names_no_place_is_told_in_one_line(uri):
    with pytest.raises(ValueError, match=re.escape(uri)) as told:
        resolve(uri)
    assert "\n" not in str(told.value)
