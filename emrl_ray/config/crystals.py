"""The verbs that make tables: ingest, library, featurize."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from emrl_ray.config.base import (
    ClusterOptions,
    ConfigError,
    CrystalLimits,
    Resumable,
    above,
    at_least,
    between,
    positional,
)


@dataclass(kw_only=True)
class IngestConfig(Resumable, ClusterOptions, CrystalLimits):
    """Read crystals from files into a crystals table."""

    sources: list[str] = positional()
    """Files, folders, globs or archives: CIF, POSCAR, vasprun.xml, extxyz, JSON (pymatgen, matminer, JARVIS), CSV with a CIF column, Parquet, ASE databases."""
    out: str
    """Folder for the crystals table."""
    targets: str | None = None
    """CSV of targets: id_prop.csv without a header (id, value, ...) or a CSV with a header and an id column."""
    target_names: list[str] = field(default_factory=list)
    """Names for the columns of a CSV of targets without a header (default: target, target_2, ...)."""
    unit: str | None = None
    """Unit of the targets, kept in the table's metadata, such as eV or eV/atom."""
    theory: str | None = None
    """Level of theory of the targets, kept in the table's metadata, such as PBE or HSE06."""
    cif_column: str = "cif"
    """Column of a CSV source that holds the CIF text."""
    id_column: str = "id"
    """Column of a table (CSV, Parquet, JSON, ASE database) and of the targets that holds the ids."""
    timeout: float = 30.0
    """Seconds that one file may take before it is rejected."""
    cutoff: float = 5.0
    """Distance (Å) within which max_pairs counts the pairs."""
    files_per_slice: int = 500
    """Files that are read and committed together."""

    def __post_init__(self) -> None:
        ClusterOptions.__post_init__(self)
        CrystalLimits.__post_init__(self)
        if not self.sources:
            raise ConfigError("sources: name at least one file, folder, glob or archive")
        if self.target_names and self.targets is None:
            raise ConfigError(f"--target-names {' '.join(self.target_names)}: needs --targets")
        above("timeout", self.timeout, 0)
        above("cutoff", self.cutoff, 0)
        at_least("files_per_slice", self.files_per_slice, 1)


@dataclass(kw_only=True)
class FeaturizeConfig(Resumable, ClusterOptions, CrystalLimits):
    """Find the pairs of a crystals table and write the graphs table that training reads."""

    crystals: str = positional()
    """Crystals table."""
    out: str
    """Folder for the graphs table."""
    cutoff: float = 5.0
    """Longest pair distance, Å."""
    block_rows: int = 2048
    """Crystals that are computed and committed together."""

    def __post_init__(self) -> None:
        ClusterOptions.__post_init__(self)
        CrystalLimits.__post_init__(self)
        above("cutoff", self.cutoff, 0)
        at_least("block_rows", self.block_rows, 1)


@dataclass(kw_only=True)
class LibraryConfig(Resumable, ClusterOptions):
    """Generate a library of candidate crystals from prototypes and ions."""

    out: str
    """Folder for the crystals table."""
    count: int = 20_000
    """Crystals to generate."""
    seed: int = 0
    """Seed of the choice of ions and of the strain."""
    strain: float = 0.03
    """Largest relative strain of the lattice."""
    part: str = "1/1"
    """Draw from part K/N of the compositions only; different parts have no composition in common."""
    label: Literal["none", "ewald"] = "none"
    """Exact property to add: the Ewald electrostatic energy per atom (eV/atom) of the formal charges."""
    block_rows: int = 2048
    """Crystals that are written together."""

    def __post_init__(self) -> None:
        ClusterOptions.__post_init__(self)
        at_least("count", self.count, 1)
        at_least("seed", self.seed, 0)
        between("strain", self.strain, 0, 0.2)
        at_least("block_rows", self.block_rows, 1)
        self.parts()

    def parts(self) -> tuple[int, int]:
        """Return the part to draw from as (K, N)."""
        try:
            number, parts = map(int, self.part.split("/"))
        except ValueError:
            number, parts = 0, 0
        if not 1 <= number <= parts:
            raise ConfigError(f"--part {self.part}: give K/N with 1 ≤ K ≤ N, as in 1/2")
        return number, parts
