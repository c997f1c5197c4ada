"""Names of things that users may add to: networks and losses."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from emrl_ray.config.errors import UserError

T = TypeVar("T")


def resolve_plugin(registry: Mapping[str, T], name: str, option: str) -> T:
    """Return what is registered under `name`, or what MODULE:NAME is when imported.

    The second form serves code outside this package on every worker of a cluster, for each imports
    it by itself; modules of the working directory are found too. Raises UserError, in one line that
    names the option, if there is neither.
    """
    if name in registry:
        return registry[name]
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        raise UserError(f"{option} {name}: choose from {', '.join(registry)}, or give MODULE:NAME")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # as `python -m` has it and an installed command has not
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{option} {name}: {error}") from None
