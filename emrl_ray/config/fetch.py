"""The verb that brings crystals from databases: fetch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from emrl_ray.config.base import CrystalLimits, Resumable, above, at_least, between, symbols
from emrl_ray.config.errors import UserError

MAX_ROWS = 1000
"""Rows that the Materials Project gives at most in one answer."""
RANGES = (
    "band_gap",
    "energy_above_hull",
    "formation_energy_per_atom",
    "nelements",
    "num_sites",
)
"""Options that are a range of numbers."""
WHOLE = ("nelements", "num_sites")
"""Those of whole numbers."""


class Range(NamedTuple):
    """Numbers from `low` to `high`, both included; None leaves an end open."""

    low: float | None
    high: float | None


@dataclass(kw_only=True)
class FetchConfig(Resumable, CrystalLimits):
    """Fetch crystals and properties from the Materials Project or an OPTIMADE server."""

    out: str
    """Folder for the crystals table."""
    ids: str | None = None
    """File of Materials Project ids: one a line, or a CSV with a column of them."""
    id_column: str | None = None
    """Column of the ids in a CSV (default: material_id, mp_id or id, else the first)."""
    chemsys: list[str] = field(default_factory=list)
    """Chemical systems, such as Li-Fe-O or Si-*; here and in the other lists a comma separates as a space does."""
    elements: list[str] = field(default_factory=list)
    """Elements that a crystal must have, all of them, as Li O or Li,O."""
    exclude_elements: list[str] = field(default_factory=list)
    """Elements that a crystal must not have."""
    band_gap: str | None = None
    """LOW:HIGH, eV; here and in the other ranges either end may be empty, and both belong to it."""
    energy_above_hull: str | None = None
    """LOW:HIGH, eV/atom."""
    formation_energy_per_atom: str | None = None
    """LOW:HIGH, eV/atom."""
    nelements: str | None = None
    """Number of different elements: LOW:HIGH, or one number."""
    num_sites: str | None = None
    """Atoms in the cell: LOW:HIGH, or one number."""
    is_stable: bool = False
    """Only crystals on the convex hull."""
    all: bool = False
    """Everything that the database has."""
    optimade: str | None = None
    """Base URL of an OPTIMADE server, to fetch from it in place of the Materials Project."""
    filter: str | None = None
    """OPTIMADE filter, such as 'elements HAS "Si" AND nelements=2'."""
    fields: list[str] = field(default_factory=list)
    """Properties that become columns (default: of the Materials Project band_gap, formation_energy_per_atom and energy_above_hull; of OPTIMADE none)."""
    theory: str | None = None
    """Level of theory of the properties, kept in the table's metadata (default: what is known of the database's)."""
    endpoint: str | None = None
    """Base URL of another server with the Materials Project's interface."""
    cutoff: float = 5.0
    """Distance (Å) within which max_pairs counts the pairs."""
    block_rows: int = 250
    """Crystals that are asked for and committed together; an OPTIMADE server may give fewer."""
    parallel: int = 4
    """Requests at a time; the pages of an OPTIMADE server come one after another."""
    attempts: int = 8
    """Times that a request is tried."""
    patience: float = 1.0
    """Seconds until a failed request is repeated; doubles each time, up to a minute. What the server asks for comes first."""
    request_timeout: float = 60.0
    """Seconds that a server may be silent before a request counts as failed."""

    def __post_init__(self) -> None:
        CrystalLimits.__post_init__(self)
        for name in ("chemsys", "elements", "exclude_elements", "fields"):
            setattr(self, name, symbols(getattr(self, name)))
        for name in ("attempts", "block_rows"):
            at_least(name, getattr(self, name), 1)
        for name in ("cutoff", "patience", "request_timeout"):
            above(name, getattr(self, name), 0)
        between("parallel", self.parallel, 1, 8)
        if len({*self.fields}) < len(self.fields):
            raise UserError(f"--fields {' '.join(self.fields)}: give each once")
        self.ranges()
        if self.optimade is None:
            self._check_materials_project()
        else:
            self._check_optimade()

    def ranges(self) -> dict[str, Range]:
        """Return the ranges that were asked for, by the names of their options."""
        texts = {name: getattr(self, name) for name in RANGES}
        return {name: _range(name, text) for name, text in texts.items() if text is not None}

    def _narrowing(self) -> list[str]:
        """Return the options that narrow a query of the Materials Project, other than by ids."""
        names = ("chemsys", "elements", "exclude_elements", *RANGES, "is_stable")
        return [f"--{name.replace('_', '-')}" for name in names if getattr(self, name)]

    def _check_materials_project(self) -> None:
        between("block_rows", self.block_rows, 1, MAX_ROWS)
        if self.filter is not None:
            raise UserError(f"--filter {self.filter}: needs --optimade URL")
        if self.id_column is not None and self.ids is None:
            raise UserError(f"--id-column {self.id_column}: needs --ids FILE")
        ways = [f"--ids {self.ids}"] * (self.ids is not None) + ["--all"] * self.all
        narrowing = self._narrowing()
        if ways and (len(ways) > 1 or narrowing):
            raise UserError(
                f"{', '.join([*ways, *narrowing])}: give one of them, or no --ids and no --all"
            )
        if not ways and not narrowing:
            raise UserError(
                "say what to fetch: --ids FILE, --chemsys, --elements, --band-gap LOW:HIGH or another "
                "range, --is-stable, or --all; --optimade URL for another database"
            )

    def _check_optimade(self) -> None:
        foreign = self._narrowing()
        foreign += [
            f"--{name.replace('_', '-')}"
            for name in ("ids", "id_column", "endpoint")
            if getattr(self, name) is not None
        ]
        if foreign:
            raise UserError(
                f"{foreign[0]}: is of the Materials Project; with --optimade give --filter"
            )
        if (self.filter is not None) == self.all:
            raise UserError("--optimade: give one of --filter '...' and --all")


def _range(option: str, text: str) -> Range:
    """Return LOW:HIGH or, of whole numbers, one number as a range; UserError, in one line, if it is none."""
    number = int if option in WHOLE else float
    low, colon, high = text.partition(":")
    if not colon and option in WHOLE:
        high = low
    try:
        found = Range(number(low) if low else None, number(high) if high else None)
    except ValueError:
        found = Range(1, 0)
    if (not colon and option not in WHOLE) or found == (None, None) or not _ordered(found):
        one = ", or one whole number" if option in WHOLE else ""
        raise UserError(
            f"--{option.replace('_', '-')} {text}: give LOW:HIGH with LOW ≤ HIGH, as in 0:2{one}"
        )
    return found


def _ordered(found: Range) -> bool:
    """Return whether the ends are finite and in order."""
    low = -math.inf if found.low is None else found.low
    high = math.inf if found.high is None else found.high
    return low <= high and low < math.inf and high > -math.inf
