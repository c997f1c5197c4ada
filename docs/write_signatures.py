"""Write the signatures of the Python functions, from the options of the commands, into emrl_ray/__init__.pyi.

    python docs/write_signatures.py

So type checkers and editors know `emrl_ray.screen(...)`, which is made from its dataclass when it is called.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
import subprocess
import sys
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from emrl_ray import cli

ROOT = Path(__file__).parents[1]
STUB = ROOT / "emrl_ray" / "__init__.pyi"


def tree_of(module: str) -> ast.Module:
    """Return the syntax tree of a module."""
    file = importlib.import_module(module).__file__
    assert file is not None
    return ast.parse(Path(file).read_text("utf-8"))


def home_of(module: str, name: str) -> str:
    """Return the module in which a name is defined that `module` has."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            return home_of(str(node.module), name)
    return module


def result_of(command: str) -> tuple[str, str]:
    """Return module and name of what the function of a command returns."""
    module, _, function = cli.VERBS[command].function.partition(":")
    for node in tree_of(module).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            assert isinstance(node.returns, ast.Name), f"{command}: returns no class by its name"
            return home_of(module, node.returns.id), node.returns.id
    raise LookupError(f"{module} has no function {function}")


def names_in(entry: Field[Any]) -> set[str]:
    """Return the names in the type of an option that are no built-ins."""
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", str(entry.type))
    return set(re.findall(r"\b[A-Z]\w+", bare)) - {"None"}


def parameter(entry: Field[Any]) -> str:
    """Return an option as a parameter; what has a default has one."""
    default = " = ..." if (entry.default, entry.default_factory) != (MISSING, MISSING) else ""
    return f"    {entry.name}: {entry.type}{default},"


def stub() -> str:
    """Return the text of the stub, before formatting."""
    imports, functions = set[str](), list[str]()
    for command, verb in cli.VERBS.items():
        module, result = result_of(command)
        if not hasattr(builtins, result):
            imports.add(f"from {module} import {result}")
        for entry in fields(verb.config):
            owner = next(
                base
                for base in verb.config.__mro__
                if entry.name in vars(base).get("__annotations__", {})
            )
            for name in names_in(entry):
                imports.add(f"from {home_of(owner.__module__, name)} import {name}")
        parameters = [parameter(entry) for entry in fields(verb.config)]
        doc = inspect.getdoc(verb.config)
        functions += [f"def {command}(", "    *,", *parameters, f') -> {result}: """{doc}"""', ""]
    head = ['"""Signatures of the Python functions; docs/write_signatures.py writes them."""', ""]
    return "\n".join([*head, *sorted(imports), "", "__version__: str", "", *functions])


def formatted(text: str) -> str:
    """Return the stub as ruff formats it."""
    ruff = Path(sys.executable).with_name("ruff")
    for words in (["check", "--fix", "-q", "--select", "I,F401"], ["format", "-q"]):
        command = [ruff, *words, "--stdin-filename", str(STUB), "-"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
        text = done.stdout
    return text


if __name__ == "__main__":
    STUB.write_text(formatted(stub()), "utf-8")
