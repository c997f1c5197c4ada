"""What is wrong with a model folder, in one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from safetensors import SafetensorError

from emrl_ray.config.errors import UserError, one_line
from emrl_ray.io.paths import Location, read_json


class CorruptModelError(Exception):
    """A file of a model folder does not hold what it should; says which and what."""


@contextmanager
def corruption_reported(uri: str) -> Iterator[None]:
    """Raise UserError, in one line, for what a damaged file of a model folder leads to."""
    try:
        yield
    except KeyError as error:
        raise UserError(f"{uri}: a damaged model: {error} is missing") from error
    except (CorruptModelError, SafetensorError, OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{uri}: a damaged model: {one_line(error)}") from error


@contextmanager
def as_corrupt() -> Iterator[None]:
    """Raise CorruptModelError for a ValueError, with which a part of a model refuses its file."""
    try:
        yield
    except ValueError as error:
        raise CorruptModelError(str(error)) from error


def read_mapping(location: Location, name: str) -> dict[str, Any]:
    """Return the content of a JSON file, called `name`; CorruptModelError if it is no JSON object."""
    try:
        content = read_json(location)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise CorruptModelError(f"{name} is no JSON") from None
    return as_mapping(content, name)


def as_mapping(content: Any, name: str) -> dict[str, Any]:
    """Return what stands in JSON under `name`; CorruptModelError if it is no object."""
    if not isinstance(content, dict):
        raise CorruptModelError(f"{name} is no JSON object")
    return content
