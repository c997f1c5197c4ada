"""The command that generates candidates: generate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from emrl_ray.config.base import (
    CrystalLimits,
    EngineOptions,
    Resumable,
    alias,
    at_least,
    between,
    symbols,
    window_of,
)
from emrl_ray.config.errors import UserError


@dataclass(kw_only=True)
class GenerateConfig(Resumable, EngineOptions):
    """Generate candidate crystals: prototypes with ions, known crystals with other ions, or perovskites."""

    out: str
    """Folder for the crystals table."""
    count: int = 20_000
    """Crystals to write, if there are so many."""
    parents: str | None = alias("from")
    """Crystals table: replace the ions of these crystals by likely ones. Its short name is --from."""
    threshold: float | None = None
    """Least probability of a replacement of all ions, with --from (default 0.001)."""
    a: list[str] = field(default_factory=list)
    """Elements for the A site of perovskites ABX3, as in --a Cs,Rb --b Pb,Sn --x I,Br; only neutral ones are made."""
    b: list[str] = field(default_factory=list)
    """Elements for the B site of perovskites."""
    x: list[str] = field(default_factory=list)
    """Elements for the X site of perovskites."""
    tolerance: str | None = None
    """LOW:HIGH of Goldschmidt's tolerance factor, with --a, --b, --x; either end may be empty."""
    octahedral: str | None = None
    """LOW:HIGH of the octahedral factor, radius of B over radius of X, with --a, --b, --x."""
    exclude_elements: list[str] = field(default_factory=list)
    """Elements that no crystal may have, as Pb Cd or Pb,Cd."""
    only_elements: list[str] = field(default_factory=list)
    """Elements that a crystal is made of, and no others."""
    max_elements: int | None = None
    """Most different elements in a crystal."""
    max_atoms: int = CrystalLimits.max_atoms
    """Most atoms in a cell."""
    known: str | None = None
    """Crystals table: candidates that are in it, at whatever volume, get its id as known_id."""
    known_crystals: Literal["mark", "drop"] = "mark"
    """What becomes of candidates that are in --known."""
    seed: int = 0
    """Seed of the choice of ions and of the strain of prototypes."""
    strain: float | None = None
    """Largest relative strain of a prototype's lattice (default 0.03)."""
    part: str = "1/1"
    """Draw prototypes from part K/N of the compositions only; different parts have no composition in common."""
    label: Literal["none", "ewald"] = "none"
    """Exact property to add: the Ewald electrostatic energy per atom (eV/atom) of the formal charges."""
    block_rows: int = 8192
    """Crystals that are written together."""

    def __post_init__(self) -> None:
        EngineOptions.__post_init__(self)
        for name in ("a", "b", "x", "exclude_elements", "only_elements"):
            setattr(self, name, symbols(getattr(self, name)))
        at_least("count", self.count, 1)
        at_least("seed", self.seed, 0)
        at_least("max_atoms", self.max_atoms, 1)
        at_least("block_rows", self.block_rows, 1)
        if self.max_elements is not None:
            at_least("max_elements", self.max_elements, 1)
        if self.strain is not None:
            between("strain", self.strain, 0, 0.2)
        if self.threshold is not None:
            between("threshold", self.threshold, 1e-9, 1)
        if self.known_crystals == "drop" and self.known is None:
            raise UserError("--known-crystals drop: needs --known")
        self.windows()
        self.parts()
        self._check_source()

    @property
    def source(self) -> Literal["prototypes", "substitution", "perovskites"]:
        """What the candidates are made from."""
        if self.parents is not None:
            return "substitution"
        return "perovskites" if self.a or self.b or self.x else "prototypes"

    def windows(self) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
        """Return the ranges of the tolerance factor and of the octahedral factor."""
        return window_of("tolerance", self.tolerance), window_of("octahedral", self.octahedral)

    def _check_source(self) -> None:
        """Raise UserError, in one line, for options of two sources, or of one that is not meant."""
        sites = {name: getattr(self, name) for name in "abx"}
        named = [name for name, elements in sites.items() if elements]
        if self.parents is not None and named:
            raise UserError(
                f"--{named[0]} {' '.join(sites[named[0]])}: replaces no ions of --from {self.parents}; "
                "make two libraries"
            )
        if named and len(named) < len(sites):
            missing = ", ".join(f"--{name}" for name in sites if name not in named)
            raise UserError(f"{missing}: name at least one element for each of A, B and X")
        needs = {
            "threshold": ("substitution", "--from"),
            "tolerance": ("perovskites", "--a, --b and --x"),
            "octahedral": ("perovskites", "--a, --b and --x"),
            "strain": ("prototypes", "prototypes, so neither --from nor --a, --b, --x"),
            "part": ("prototypes", "prototypes, so neither --from nor --a, --b, --x"),
            "seed": ("prototypes", "prototypes, so neither --from nor --a, --b, --x"),
        }
        for name, (source, wanted) in needs.items():
            value = getattr(self, name)
            if value != getattr(type(self), name) and source != self.source:
                raise UserError(f"--{name} {value}: needs {wanted}")

    def parts(self) -> tuple[int, int]:
        """Return the part to draw from as (K, N)."""
        try:
            number, parts = map(int, self.part.split("/"))
        except ValueError:
            number, parts = 0, 0
        if not 1 <= number <= parts:
            raise UserError(f"--part {self.part}: give K/N with 1 ≤ K ≤ N, as in 1/2")
        return number, parts
