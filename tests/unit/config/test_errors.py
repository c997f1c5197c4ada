"""Errors of the user's: each kind is one of Python's too, and the package raises no other."""

from __future__ import annotations

import ast
import pickle

import pytest

from emrl_ray.config import errors
from emrl_ray.config.errors import UserError, user_message
from tests.support.paths import ROOT

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type)]
BUILT_IN = {"ValueError", "OSError", "ConnectionError", "PermissionError", "ImportError"}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_the_users_and_passes_between_processes(kind):
    error = pickle.loads(pickle.dumps(kind("o/rows: no such file")))
    assert isinstance(error, UserError)
    assert user_message(error) == "o/rows: no such file"


def test_the_package_makes_no_error_that_is_neither_the_users_nor_a_bug():
    for file in sorted((ROOT / "emrl_ray").rglob("*.py")):
        calls = [
            node
            for node in ast.walk(ast.parse(file.read_text("utf-8")))
            if isinstance(node, ast.Call)
        ]
        made = {node.func.id for node in calls if isinstance(node.func, ast.Name)}
        assert not made & (BUILT_IN | {"FileNotFoundError"}), file
