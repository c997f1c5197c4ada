"""Small files of crystals for tests."""

from __future__ import annotations

from emrl_ray.crystals.readers import read_document

SITE_COLUMNS = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy")


def cif(sites, symmetry="", cell=(5, 5, 5, 90, 90, 90), columns=SITE_COLUMNS, name="x"):
    """Return the text of a CIF block; `sites` are lines of the atom loop."""
    tags = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = [f"data_{name}", *(f"_cell_{tag} {v}" for tag, v in zip(tags, cell, strict=True))]
    lines += [symmetry, "loop_", *(f"_atom_site_{column}" for column in columns), *sites, ""]
    return "\n".join(lines)


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


class PoolHere:
    """Stands in for a `ParserPool`, in this process."""

    def read(self, documents):
        return (read_document(*document) for document in documents)
