"""Properties of the Materials Project's summaries that may become columns, and their units."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from emrl_ray.config import UserError
from emrl_ray.crystals.units import annotated, number_field

THEORY = "GGA, GGA+U or r2SCAN (Materials Project)"
"""What the Materials Project mixes: r2SCAN where there is a calculation, else GGA or GGA+U."""
DEFAULTS = ("band_gap", "formation_energy_per_atom", "energy_above_hull")
UNITS: dict[str, str | None] = {
    "band_gap": "eV",
    "cbm": "eV",
    "vbm": "eV",
    "efermi": "eV",
    "dos_energy_up": "eV",
    "dos_energy_down": "eV",
    "formation_energy_per_atom": "eV/atom",
    "energy_above_hull": "eV/atom",
    "energy_per_atom": "eV/atom",
    "uncorrected_energy_per_atom": "eV/atom",
    "equilibrium_reaction_energy_per_atom": "eV/atom",
    "volume": "angstrom^3",
    "density": "g/cm^3",
    "density_atomic": "angstrom^3/atom",
    "total_magnetization": "mu_B",
    "total_magnetization_normalized_vol": "mu_B/angstrom^3",
    "total_magnetization_normalized_formula_units": "mu_B/f.u.",
    "bulk_modulus.vrh": "GPa",
    "shear_modulus.vrh": "GPa",
    "universal_anisotropy": None,
    "homogeneous_poisson": None,
    "e_total": None,
    "e_ionic": None,
    "e_electronic": None,
    "n": None,
    "e_ij_max": "C/m^2",
    "weighted_surface_energy": "J/m^2",
    "weighted_work_function": "eV",
    "surface_anisotropy": None,
    "shape_factor": None,
}
"""Unit of each number; None is without one."""
TRUTHS = ("is_stable", "is_metal", "is_gap_direct", "is_magnetic", "theoretical")
"""Properties that are true or false."""


def summary_columns(names: Sequence[str], theory: str | None) -> pa.Schema:
    """Return the columns of the properties `names`, a dot in a name as an underscore.

    Raises UserError, in one line, for a name that is none of them.
    """
    return annotated(pa.schema([_field(name) for name in names]), None, theory or THEORY)


def column_name(name: str) -> str:
    """Return the name of the column of a property."""
    return name.replace(".", "_")


def _field(name: str) -> pa.Field:
    if name in TRUTHS:
        return pa.field(name, pa.bool_())
    if name not in UNITS:
        raise UserError(f"--fields {name}: choose from {', '.join([*UNITS, *TRUTHS])}")
    return number_field(column_name(name), UNITS[name])
