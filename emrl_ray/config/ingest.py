"""The verbs that make tables of crystals that there are: ingest, featurize."""

from __future__ import annotations

from dataclasses import dataclass, field

from emrl_ray.config.base import (
    CrystalLimits,
    EngineOptions,
    Resumable,
    above,
    at_least,
    positional,
)
from emrl_ray.config.errors import UserError


@dataclass(kw_only=True)
class IngestConfig(Resumable, EngineOptions, CrystalLimits):
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
    files_per_partition: int = 500
    """Files that are read and committed together."""

    def __post_init__(self) -> None:
        EngineOptions.__post_init__(self)
        CrystalLimits.__post_init__(self)
        if not self.sources:
            raise UserError("sources: name at least one file, folder, glob or archive")
        if self.target_names and self.targets is None:
            raise UserError(f"--target-names {' '.join(self.target_names)}: needs --targets")
        above("timeout", self.timeout, 0)
        above("cutoff", self.cutoff, 0)
        at_least("files_per_partition", self.files_per_partition, 1)


@dataclass(kw_only=True)
class FeaturizeConfig(Resumable, EngineOptions, CrystalLimits):
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
        EngineOptions.__post_init__(self)
        CrystalLimits.__post_init__(self)
        above("cutoff", self.cutoff, 0)
        at_least("block_rows", self.block_rows, 1)
