"""Difficult CIFs, and what gemmi's way and pymatgen's make of each."""

from __future__ import annotations

from typing import NamedTuple

from emrl_ray.crystals.schema import RejectReason
from tests.support.crystal_files import NACL, SITE_COLUMNS, cif

HEXAGONAL = (5, 5, 8, 90, 90, 120)
MONOCLINIC = (5, 6, 7, 90, 100, 90)
RHOMBOHEDRAL = (5, 5, 5, 60, 60, 60)
SALT = ["Na1 Na 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 1"]


def hm(symbol: str) -> str:
    """Return the line of a Hermann-Mauguin symbol."""
    return f"_symmetry_space_group_name_H-M '{symbol}'"


def operations(*triplets: str) -> str:
    """Return the loop of symmetry operations."""
    return "\n".join(["loop_", "_symmetry_equiv_pos_as_xyz", *(f"'{t}'" for t in triplets)])


class Case(NamedTuple):
    """A CIF and what it gives."""

    text: str
    ours: int | RejectReason
    """Atoms, or why there is no crystal."""
    theirs: int | None
    """Atoms of pymatgen's first structure; None if it has none."""
    why: str = ""
    """Where the two differ, why."""


FULL = RejectReason.DISORDERED
OVERLAP = RejectReason.OVERLAPPING_SITES

CASES = {
    "partial occupancy": Case(
        cif(["Na1 Na 0 0 0 0.5", "K1 K 0 0 0 0.5"]),
        FULL,
        1,
        "pymatgen keeps disorder; here a site must be full",
    ),
    "occupancy of 0.9995": Case(
        cif(["Na1 Na 0 0 0 0.9995", "Cl1 Cl 0.5 0.5 0.5 1"]),
        2,
        2,
        "here full within 0.001; pymatgen keeps it as disorder",
    ),
    "occupancy unknown": Case(
        cif(["Na1 Na 0 0 0 ?", "Cl1 Cl 0.5 0.5 0.5 ."]),
        2,
        1,
        "here an occupancy that is not known or given is 1; pymatgen takes it for 0 or drops the site",
    ),
    "occupancy with uncertainty": Case(cif(["Na1 Na 0 0 0 1.000(4)"]), 1, 1),
    "operations only": Case(
        cif(SALT, operations("x,y,z", "x,y+1/2,z+1/2", "x+1/2,y,z+1/2", "x+1/2,y+1/2,z")), 8, 8
    ),
    "operations beat a wrong symbol": Case(
        cif(SALT, hm("F m -3 m") + "\n" + operations("x,y,z")), 2, 2
    ),
    "operations with decimals": Case(
        cif(["Na1 Na 0.1 0.2 0.3 1"], operations("x,y,z", "-x+0.5,-y,z+0.5")), 2, 2
    ),
    "operations in capitals and with spaces": Case(
        cif(["Na1 Na 0.1 0.2 0.3 1"], operations("X, Y, Z", "1/2 - X, -Y, 1/2 + Z")), 2, 2
    ),
    "origin choice 1 in the symbol": Case(
        cif(["Si1 Si 0 0 0 1"], hm("F d -3 m :1")),
        8,
        1,
        "pymatgen does not know the symbol and takes P 1",
    ),
    "origin choice 2 in the symbol": Case(
        cif(["Si1 Si 0.125 0.125 0.125 1"], hm("F d -3 m :2")),
        8,
        1,
        "pymatgen does not know the symbol and takes P 1",
    ),
    "origin choice unsaid": Case(
        cif(["Si1 Si 0.125 0.125 0.125 1"], hm("F d -3 m")),
        8,
        16,
        "origin choice 2 here, as the International Tables' standard; 1 in pymatgen",
    ),
    "number alone": Case(
        cif(["Si1 Si 0.125 0.125 0.125 1"], "_symmetry_Int_Tables_number 227"),
        8,
        16,
        "origin choice 2 here, as the International Tables' standard; 1 in pymatgen",
    ),
    "Hall symbol": Case(
        cif(["Na1 Na 0.1 0.2 0.3 1"], "_space_group_name_Hall '-P 2ybc'", MONOCLINIC),
        4,
        1,
        "pymatgen passes Hall symbols over and takes P 1",
    ),
    "hexagonal axes": Case(cif(["Na1 Na 0 0 0 1"], hm("R -3 m"), HEXAGONAL), 3, 3),
    "hexagonal axes said": Case(
        cif(["Na1 Na 0 0 0 1"], hm("R -3 m :H"), HEXAGONAL),
        3,
        1,
        "pymatgen does not know the symbol and takes P 1",
    ),
    "rhombohedral axes": Case(
        cif(["Na1 Na 0 0 0 1"], hm("R -3 m"), RHOMBOHEDRAL),
        1,
        3,
        "the angles say which axes; pymatgen takes the hexagonal ones always",
    ),
    "rhombohedral axes said": Case(cif(["Na1 Na 0 0 0 1"], hm("R -3 m :R"), RHOMBOHEDRAL), 1, 1),
    "symbol without spaces": Case(cif(SALT, hm("Fm-3m")), 8, 8),
    "symbol with underscores": Case(
        cif(["Na1 Na 0.1 0.2 0.3 1"], hm("P_21/c"), MONOCLINIC),
        4,
        1,
        "pymatgen does not know the symbol and takes P 1",
    ),
    "short symbol": Case(
        cif(["Na1 Na 0.1 0.2 0.3 1"], hm("P 21/c"), MONOCLINIC),
        4,
        1,
        "pymatgen does not know the symbol and takes P 1",
    ),
    "full symbol": Case(cif(["Na1 Na 0.1 0.2 0.3 1"], hm("P 1 21/c 1"), MONOCLINIC), 4, 4),
    "other setting": Case(
        cif(["Na1 Na 0.1 0.2 0.3 1"], hm("P 21/n"), MONOCLINIC),
        4,
        1,
        "pymatgen does not know the symbol and takes P 1",
    ),
    "other axes": Case(cif(["Na1 Na 0.1 0.2 0.3 1"], hm("P b n m"), (5, 6, 7, 90, 90, 90)), 8, 8),
    "old symbol with an overline as minus last": Case(
        cif(SALT, hm("F m 3 m")), 8, 2, "pymatgen does not know the symbol and takes P 1"
    ),
    "no such group": Case(
        cif(SALT, hm("Q 7 7 7")),
        RejectReason.UNREADABLE,
        2,
        "never P 1 instead of what cannot be read; pymatgen takes P 1",
    ),
    "operations that cannot be read": Case(
        cif(SALT, operations("x,y,z", "x,y,q")),
        RejectReason.UNREADABLE,
        3,
        "never other operations than those listed; pymatgen makes something of them",
    ),
    "operations without the identity": Case(
        cif(SALT, operations("-x,-y,-z")),
        RejectReason.UNREADABLE,
        2,
        "a list without the identity is not that of a group; pymatgen takes it as it is",
    ),
    "special position rounded to 0.3333": Case(
        cif(["Na1 Na 0.3333 0.6667 0.25 1"], hm("P 63/m m c"), HEXAGONAL),
        2,
        2,
        "the listed coordinates stay; pymatgen moves what is within 0.01 % of 1/3 or 2/3 there",
    ),
    "special position rounded to 0.333": Case(
        cif(["Na1 Na 0.333 0.667 0.25 1"], hm("P 63/m m c"), HEXAGONAL),
        2,
        6,
        "images within 0.1 Å are one site; pymatgen makes three of one",
    ),
    "special position rounded to 0.33": Case(
        cif(["Na1 Na 0.33 0.67 0.25 1"], hm("P 63/m m c"), HEXAGONAL),
        2,
        6,
        "images within 0.1 Å are one site; pymatgen makes three of one",
    ),
    "general position near a third": Case(
        cif(["Na1 Na 0.33331 0.1 0.2 1"], cell=(10, 5, 5, 90, 90, 90)),
        1,
        1,
        "the listed coordinates stay; pymatgen moves what is within 0.01 % of 1/3 or 2/3 there",
    ),
    "same site twice": Case(cif(["Na1 Na 0 0 0 1", "Na2 Na 0 0 0 1"]), OVERLAP, None),
    "two elements on a site": Case(cif(["Na1 Na 0 0 0 1", "K1 K 0 0 0 1"]), OVERLAP, None),
    "images listed and generated": Case(
        cif(["Na1 Na 0.1 0 0 1", "Na2 Na -0.1 0 0 1"], operations("x,y,z", "-x,-y,-z")),
        OVERLAP,
        None,
    ),
    "oxidation numbers in the type": Case(
        cif(["Na1 Na1+ 0 0 0 1", "Cl1 Cl1- 0.5 0.5 0.5 1"]), 2, 2
    ),
    "oxidation numbers in the label": Case(
        cif(["Na+ 0 0 0", "Cl- 0.5 0.5 0.5"], columns=("label", *SITE_COLUMNS[2:5])), 2, 2
    ),
    "labels alone": Case(
        cif(["Na1 0 0 0", "Cl1A 0.5 0.5 0.5"], columns=("label", *SITE_COLUMNS[2:5])), 2, 2
    ),
    "labels that may be two elements": Case(
        cif(["HO1 0 0 0"], columns=("label", *SITE_COLUMNS[2:5])),
        RejectReason.UNKNOWN_ELEMENT,
        1,
        "HO1 may be hydroxyl's H or O, or Ho; pymatgen takes Ho",
    ),
    "types in capitals": Case(cif(["NA1 NA 0 0 0 1", "CL1 CL 0.5 0.5 0.5 1"]), 2, 2),
    "deuterium": Case(cif(["D1 D 0 0 0 1", "O1 O 0.5 0.5 0.5 1"]), 2, 2),
    "dummy atom": Case(
        cif(["Du1 Du 0 0 0 1", "Na1 Na 0.5 0.5 0.5 1"]),
        RejectReason.UNKNOWN_ELEMENT,
        2,
        "Du is no element; pymatgen takes it for deuterium",
    ),
    "uncertainties": Case(
        cif(
            ["Na1 Na 0.0000(3) 0 0 1", "Cl1 Cl 0.5000(12) 0.5 0.5 1"],
            cell=("5.000(2)", 5, 5, 90, "90.0(1)", 90),
        ),
        2,
        2,
    ),
    "coordinate unknown": Case(
        cif(["Na1 Na ? ? ? 1", "Cl1 Cl 0.5 0.5 0.5 1"]), RejectReason.BAD_COORDINATES, None
    ),
    "coordinate not given": Case(
        cif(["Na1 Na . . . 1", "Cl1 Cl 0.5 0.5 0.5 1"]),
        RejectReason.BAD_COORDINATES,
        2,
        "a coordinate that is not given is none; pymatgen takes 0",
    ),
    "angles not given": Case(
        "\n".join(line for line in NACL.splitlines() if "angle" not in line),
        RejectReason.BAD_CELL,
        None,
    ),
    "coordinates outside the cell": Case(cif(["Na1 Na -0.25 1.5 7 1"]), 1, 1),
    "disorder groups": Case(
        cif(["C1 C 0 0 0 1", "C2 C 0.5 0 0 2"], columns=(*SITE_COLUMNS[:5], "disorder_group")),
        FULL,
        2,
        "alternatives are disorder; pymatgen fills both",
    ),
    "calculated hydrogen": Case(
        cif(["C1 C 0 0 0 d", "H1 H 0.2 0 0 calc"], columns=(*SITE_COLUMNS[:5], "calc_flag")), 2, 2
    ),
    "CRLF and a comment first": Case("# made by hand\r\n" + NACL.replace("\n", "\r\n"), 2, 2),
    "tags in capitals": Case(
        NACL.replace("_cell_length", "_CELL_LENGTH").replace("fract_x", "Fract_X"),
        2,
        None,
        "CIF's tags have no case; pymatgen finds none of them",
    ),
    "loop cut off": Case(NACL.rsplit(" ", 2)[0], RejectReason.UNREADABLE, None),
    "a text field with a loop in it": Case(
        NACL.replace("data_x\n", "data_x\n_publ_text\n;\nloop_\n_atom_site_label\nX\n;\n"), 2, 2
    ),
}
