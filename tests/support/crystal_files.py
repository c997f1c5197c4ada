"""Small files of crystals for tests."""

from __future__ import annotations

import gzip

import numpy as np
import pyarrow as pa

from emrl_ray.crystals.schema import READ_BY
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.sources.files.formats.registry import read_document
from emrl_ray.sources.files.listing import list_sources
from emrl_ray.sources.files.loading import Loader
from emrl_ray.sources.files.partitions import CsvColumns
from emrl_ray.sources.files.planning import plan_partitions

SITE_COLUMNS = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy")


def cif(sites, symmetry="", cell=(5, 5, 5, 90, 90, 90), columns=SITE_COLUMNS, name="x"):
    """Return the text of a CIF block; `sites` are lines of the atom loop."""
    tags = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = [f"data_{name}", *(f"_cell_{tag} {v}" for tag, v in zip(tags, cell, strict=True))]
    lines += [symmetry, "loop_", *(f"_atom_site_{column}" for column in columns), *sites, ""]
    return "\n".join(lines)


def structure(edge=5.0, first="Na", occupancy=1):
    """Return NaCl of a cubic cell as pymatgen writes it, its first site perhaps of something else."""
    return STRUCTURE | {
        "lattice": {"matrix": [[edge, 0, 0], [0, edge, 0], [0, 0, edge]]},
        "sites": [
            {"species": [{"element": first, "occu": occupancy}], "abc": [0, 0, 0]},
            STRUCTURE["sites"][1],
        ],
    }


def jarvis(edge=5.0, first="Na", cartesian=False):
    """Return NaCl of a cubic cell as JARVIS writes it."""
    half = edge / 2 if cartesian else 0.5
    return {
        "lattice_mat": [[edge, 0, 0], [0, edge, 0], [0, 0, edge]],
        "coords": [[0, 0, 0], [half, half, half]],
        "elements": [first, "Cl"],
        "cartesian": cartesian,
        "props": ["", ""],
    }


def salt(edge=5):
    """Return the CIF of a cubic cell of NaCl; another edge (Å) makes another crystal."""
    return cif(["Na1 Na 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 1"], cell=(edge, edge, edge, 90, 90, 90))


NACL = salt()
POSCAR = """NaCl
1.0
5 0 0
0 5 0
0 0 5
Na Cl
1 1
Direct
0 0 0
0.5 0.5 0.5
"""
FRAME = """2
Lattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3 energy=-1.5 pbc="T T T"
Na 0 0 0
Cl 2.5 2.5 2.5
"""
STRUCTURE = {
    "@module": "pymatgen.core.structure",
    "@class": "Structure",
    "lattice": {"matrix": [[5.0, 0, 0], [0, 5.0, 0], [0, 0, 5.0]]},
    "sites": [
        {"species": [{"element": "Na", "occu": 1}], "abc": [0, 0, 0]},
        {"species": [{"element": "Cl", "occu": 1}], "abc": [0.5, 0.5, 0.5]},
    ],
}

VASPRUN = """<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator><i name="program" type="string">vasp </i><i name="version" type="string">6.4.2 </i></generator>
 <incar><i type="string" name="PREC">normal</i></incar>
 <kpoints><generation param="Gamma"><v type="int" name="divisions"> 1 1 1 </v></generation><varray name="kpointlist"><v> 0 0 0 </v></varray><varray name="weights"><v> 1 </v></varray></kpoints>
 <parameters><separator name="general"><i type="int" name="NELM">60</i><i type="int" name="IBRION">2</i><i type="int" name="NSW">2</i></separator></parameters>
 <atominfo>
  <atoms> 2 </atoms><types> 2 </types>
  <array name="atoms"><dimension dim="1">ion</dimension><field type="string">element</field><field type="int">atomtype</field>
   <set><rc><c>Na</c><c>1</c></rc><rc><c>Cl</c><c>2</c></rc></set></array>
  <array name="atomtypes"><dimension dim="1">type</dimension><field type="int">atomspertype</field><field type="string">element</field><field>mass</field><field>valence</field><field type="string">pseudopotential</field>
   <set><rc><c>1</c><c>Na</c><c>22.9</c><c>1.0</c><c>PAW_PBE Na 08Apr2002</c></rc><rc><c>1</c><c>Cl</c><c>35.4</c><c>7.0</c><c>PAW_PBE Cl 06Sep2000</c></rc></set></array>
 </atominfo>
 <structure name="initialpos"><crystal><varray name="basis"><v>5 0 0</v><v>0 5 0</v><v>0 0 5</v></varray></crystal><varray name="positions"><v>0 0 0</v><v>0.5 0.5 0.5</v></varray></structure>
 <calculation><structure><crystal><varray name="basis"><v>5.5 0 0</v><v>0 5.5 0</v><v>0 0 5.5</v></varray></crystal><varray name="positions"><v>0 0 0</v><v>0.5 0.5 0.5</v></varray></structure>
 <varray name="forces"><v>0 0 0</v><v>0 0 0</v></varray>
 <energy><i name="e_fr_energy"> -1.0 </i><i name="e_wo_entrp"> -1.0 </i><i name="e_0_energy"> -1.0 </i></energy></calculation>
 <structure name="finalpos"><crystal><varray name="basis"><v>5.5 0 0</v><v>0 5.5 0</v><v>0 0 5.5</v></varray></crystal><varray name="positions"><v>0 0 0</v><v>0.5 0.5 0.5</v></varray></structure>
</modeling>
"""
"""A run of VASP that moved NaCl from a cell of 5 Å to one of 5.5 Å."""


class PoolHere:
    """Stands in for a `ParserPool`, in this process, which no file can be late for."""

    seconds = 0.0

    def read(self, documents):
        return (read_document(*document) for document in documents)


def load(tmp_path, *sources, files_per_partition=3, columns=None, meanwhile=lambda: None):
    """Return (crystals, rejects as (id, reason), plan) of sources; `meanwhile` they are listed."""
    listing = list_sources([str(source) for source in sources])
    meanwhile()
    columns = columns or CsvColumns()
    plan = plan_partitions(listing, str(tmp_path / "staged"), files_per_partition, columns)
    loader = Loader(plan.columns, ValidationLimits(100, 10**6, 5.0, 0.3), PoolHere(), columns)
    loaded = [loader(partition) for partition in plan.partitions]
    for part in loaded:
        assert part.rows_in == part.crystals.num_rows + len(part.rejects)
    crystals = pa.concat_tables(
        [part.crystals.append_column(READ_BY, part.read_by) for part in loaded]
    )
    rejects = [(reject.id, reject.reason) for part in loaded for reject in part.rejects]
    return crystals, rejects, plan


def edges(crystals):
    """Return the id and the first cell edge (Å) of each crystal."""
    lattices = np.array(crystals.column("lattice").to_pylist()).reshape(-1, 9)
    return dict(zip(crystals.column("id").to_pylist(), lattices[:, 0].tolist(), strict=True))


def readers(crystals):
    """Return which libraries read the rows of a table."""
    return set(crystals.column("read_by").to_pylist())


def written(path, content):
    """Write a file, compressed if its name ends in .gz; return its path."""
    content = content if isinstance(content, bytes) else content.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write(folder, *names, content=NACL):
    """Write files of one content into a folder; return the folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder
