"""What a screen shows.

The room has the name of the verb `report`, and as an attribute of the package it stands before the verb's
Python twin; so it can be called as that: ``emrl_ray.report(run="run")``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    def __call__(self, **options: Any) -> Any:
        """Call the Python twin of the verb `report`."""
        return import_module("emrl_ray.cli").twin("report")(**options)


sys.modules[__name__].__class__ = _Room
