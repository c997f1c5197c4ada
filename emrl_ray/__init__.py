"""emrl_ray: distributed high-throughput screening of inorganic crystals by metric learning.

Every verb of the command line is also a Python function of the same name, with the same options::

    import emrl_ray

    emrl_ray.screen(model="model", crystals="candidates", out="run", target_window="1.0:1.7")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__version__ = "0.1.0"


def __getattr__(name: str) -> Callable[..., Any]:
    """Return the Python function of a verb; what it needs is imported when it is called."""
    if not name.startswith("_"):
        cli = import_module("emrl_ray.cli")  # not a statement: no room stands above this file
        if name in cli.VERBS:
            return cli.python_function(name)
        if name in cli.COMMANDS:
            raise AttributeError(f"{name}: renamed to {cli.COMMANDS[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
