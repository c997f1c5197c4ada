"""What each reader makes of good files and of bad ones."""

import json
import pickle

import numpy as np
import pytest

from emrl_ray.crystals.schema import RejectReason
from emrl_ray.sources.files.formats.registry import Format, read_document
from emrl_ray.sources.files.parsed import ParsedCrystal, ParseFailure
from tests.support.crystal_files import FRAME, NACL, POSCAR, SITE_COLUMNS, STRUCTURE, cif, salt


def operations(*triplets):
    return "\n".join(["loop_", "_symmetry_equiv_pos_as_xyz", *(f"'{t}'" for t in triplets)])


def changed(**site):
    """Return STRUCTURE with another first site."""
    first = {"species": [{"element": "Na", "occu": 1}], "abc": [0, 0, 0], **site}
    return STRUCTURE | {"sites": [first, STRUCTURE["sites"][1]]}


def only(text, kind):
    content = text if isinstance(text, bytes) else text.encode()
    (found,) = read_document(content, kind)
    return found


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (NACL, Format.CIF),
        (POSCAR, Format.POSCAR),
        (FRAME, Format.EXTXYZ),
        (json.dumps(STRUCTURE), Format.JSON),
        ("\ufeff" + NACL, Format.CIF),
        (NACL.replace("\n", "\r\n"), Format.CIF),
    ],
)
def test_every_format_gives_the_same_crystal(text, kind):
    crystal = only(text, kind)
    np.testing.assert_allclose(crystal.lattice, 5 * np.eye(3), atol=1e-12)
    assert crystal.atomic_numbers.tolist() == [11, 17]
    np.testing.assert_allclose(crystal.frac_coords, [[0, 0, 0], [0.5, 0.5, 0.5]], atol=1e-12)


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        (b"", Format.CIF, RejectReason.EMPTY),
        (b" \n\t\n", Format.JSON, RejectReason.EMPTY),
        (NACL.replace("data_x", "data_\xe9").encode("latin-1"), Format.CIF, RejectReason.NOT_UTF8),
        ("no CIF", Format.CIF, RejectReason.UNREADABLE),
        (NACL[: NACL.rindex("0.5")], Format.CIF, RejectReason.UNREADABLE),
        ("data_x\n_chemical_name nothing\n", Format.CIF, RejectReason.NO_ATOMS),
        (cif([]).replace("loop_", "").split("_atom")[0], Format.CIF, RejectReason.NO_ATOMS),
        (cif(["Na1 Na 0 0 0 0.5"]), Format.CIF, RejectReason.DISORDERED),
        (cif(["X1 X 0 0 0 1"]), Format.CIF, RejectReason.UNKNOWN_ELEMENT),
        (cif(["Uue1 Uue 0 0 0 1"]), Format.CIF, RejectReason.UNKNOWN_ELEMENT),
        (
            cif(["C1 C 0 0 0 dum"], columns=(*SITE_COLUMNS[:5], "calc_flag")),
            Format.CIF,
            RejectReason.UNKNOWN_ELEMENT,
        ),
        (
            cif(["C1 C 0 0 0 1", "C2 C 0.5 0 0 2"], columns=(*SITE_COLUMNS[:5], "disorder_group")),
            Format.CIF,
            RejectReason.DISORDERED,
        ),
        (NACL.replace("_cell_length_b 5\n", ""), Format.CIF, RejectReason.BAD_CELL),
        (cif(["Na1 Na 0 0 0 1"], cell=(5, "?", 5, 90, 90, 90)), Format.CIF, RejectReason.BAD_CELL),
        (cif(["Na1 Na 0 0 0 1"], cell=(5, 0, 5, 90, 90, 90)), Format.CIF, RejectReason.BAD_CELL),
        (cif(["Na1 Na 0 0 0 1"], cell=(5, "x", 5, 90, 90, 90)), Format.CIF, RejectReason.BAD_CELL),
        (cif(["Na1 Na 0 0 0 1"], cell=(5, 5, 5, 60, 60, 170)), Format.CIF, RejectReason.BAD_CELL),
        (
            cif(["Na1 Na 0 0"], columns=SITE_COLUMNS[:4]),
            Format.CIF,
            RejectReason.BAD_COORDINATES,
        ),
        (
            cif(["Na1 Na 0 0 0 1"], "_symmetry_space_group_name_H-M 'nonsense'"),
            Format.CIF,
            RejectReason.UNREADABLE,
        ),
        (
            cif(["Na1 Na 0 0 0 1"], operations("x,y,z", "x,y+what,z")),
            Format.CIF,
            RejectReason.UNREADABLE,
        ),
        (cif(["Na1 Na 0 0 0 1"], operations("-x,y,-z")), Format.CIF, RejectReason.UNREADABLE),
        (POSCAR.replace("Na Cl\n", ""), Format.POSCAR, RejectReason.UNREADABLE),
        (POSCAR.replace("Na Cl\n1 1", "Na Cl\n3 1"), Format.POSCAR, RejectReason.UNREADABLE),
        (POSCAR.replace("Na Cl", "X Cl"), Format.POSCAR, RejectReason.UNKNOWN_ELEMENT),
        (POSCAR.replace("Na Cl", "Uue Cl"), Format.POSCAR, RejectReason.UNKNOWN_ELEMENT),
        (POSCAR.replace("1 1", "0 0"), Format.POSCAR, RejectReason.NO_ATOMS),
        (
            POSCAR.replace("0 5 0", "5 0 0").replace("Direct", "Cartesian"),
            Format.POSCAR,
            RejectReason.BAD_CELL,
        ),
        ("two\n", Format.EXTXYZ, RejectReason.UNREADABLE),
        ("3\n" + FRAME[2:], Format.EXTXYZ, RejectReason.UNREADABLE),
        (FRAME.replace("2.5 2.5 2.5", "2.5 oops 2.5"), Format.EXTXYZ, RejectReason.UNREADABLE),
        (FRAME.replace("pos:R:3", "velo:R:3"), Format.EXTXYZ, RejectReason.UNREADABLE),
        ("0\n" + FRAME.splitlines()[1], Format.EXTXYZ, RejectReason.NO_ATOMS),
        (FRAME.replace("Lattice", "Box"), Format.EXTXYZ, RejectReason.BAD_CELL),
        (FRAME.replace("0 5 0", "5 0 0"), Format.EXTXYZ, RejectReason.BAD_CELL),
        (FRAME.replace("0 5 0", "0 nan 0"), Format.EXTXYZ, RejectReason.BAD_CELL),
        (FRAME.replace("0 0 0 5", "0 0 5"), Format.EXTXYZ, RejectReason.BAD_CELL),
        (FRAME.replace("T T T", "T T F"), Format.EXTXYZ, RejectReason.BAD_CELL),
        (FRAME.replace("Na 0", "Xx 0"), Format.EXTXYZ, RejectReason.UNKNOWN_ELEMENT),
        (FRAME.replace("Na 0", "119 0"), Format.EXTXYZ, RejectReason.UNKNOWN_ELEMENT),
        ("{", Format.JSON, RejectReason.UNREADABLE),
        ("[" * 100_000, Format.JSON, RejectReason.UNREADABLE),
        ("[]", Format.JSON, RejectReason.NO_ATOMS),
        ('{"@class": "Molecule", "sites": []}', Format.JSON, RejectReason.UNREADABLE),
        (json.dumps(STRUCTURE | {"sites": []}), Format.JSON, RejectReason.NO_ATOMS),
        (
            json.dumps(changed(species=[{"element": "Na", "occu": 0.5}])),
            Format.JSON,
            RejectReason.DISORDERED,
        ),
        (
            json.dumps(changed(species=[{"element": "X", "occu": 1}])),
            Format.JSON,
            RejectReason.UNKNOWN_ELEMENT,
        ),
        (
            json.dumps(changed(species=[{"element": "Uue", "occu": 1}])),
            Format.JSON,
            RejectReason.UNKNOWN_ELEMENT,
        ),
    ],
)
def test_a_bad_file_gives_its_reason(text, kind, reason):
    failure = only(text, kind)
    assert isinstance(failure, ParseFailure)
    assert failure.reason is reason
    assert "\n" not in failure.detail


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (cif(["D1 D 0 0 0 1", "O1 O 0.5 0.5 0.5 1"]), Format.CIF),
        (POSCAR.replace("Na Cl", "D O"), Format.POSCAR),
        (FRAME.replace("Na 0", "D 0").replace("Cl", "O"), Format.EXTXYZ),
        (json.dumps(changed(species=[{"element": "D", "occu": 1}])), Format.JSON),
    ],
)
def test_deuterium_counts_as_hydrogen(text, kind):
    assert only(text, kind).atomic_numbers[0] == 1


@pytest.mark.parametrize(
    "symmetry",
    [
        "_symmetry_space_group_name_H-M 'F m -3 m'",
        "_space_group_name_Hall '-F 4 2 3'",
        "_symmetry_Int_Tables_number 225",
        operations("x,y,z", "x,y+1/2,z+1/2", "x+1/2,y,z+1/2", "x+1/2,y+1/2,z"),
        "_symmetry_space_group_name_H-M 'P 1'\n"
        + operations("x,y,z", "x,y+1/2,z+1/2", "x+1/2,y,z+1/2", "x+1/2,y+1/2,z"),
    ],
)
def test_symmetry_fills_the_cell_however_it_is_given(symmetry):
    crystal = only(cif(["Na1 Na 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 1"], symmetry), Format.CIF)
    assert sorted(crystal.atomic_numbers) == [11] * 4 + [17] * 4


def test_images_of_a_site_that_are_merely_near_stay_apart_for_validation_to_find():
    crystal = only(cif(["Na1 Na 0.02 0 0 1"], operations("x,y,z", "-x,-y,-z")), Format.CIF)
    np.testing.assert_allclose(crystal.frac_coords[:, 0], [0.02, -0.02])


def test_the_listed_site_stands_for_its_orbit_wherever_the_identity_is_listed():
    crystal = only(cif(["Na1 Na 0.1 0.2 0.3 1"], operations("-x,-y+0.5,z", "x,y,z")), Format.CIF)
    np.testing.assert_allclose(crystal.frac_coords, [[0.1, 0.2, 0.3], [-0.1, 0.3, 0.3]])


def test_without_symmetry_the_listed_sites_are_the_cell():
    for symmetry in ("", "_symmetry_space_group_name_H-M ?", "_symmetry_equiv_pos_as_xyz ?"):
        assert len(only(cif(["Na1 Na 0.1 0.2 0.3 1"], symmetry), Format.CIF).atomic_numbers) == 1


def test_a_site_need_not_stand_in_a_loop():
    looped = only(cif(["Na1 Na 0.1 0.2 0.3 1"]), Format.CIF)
    text = cif([]).replace("loop_\n", "")
    for name, value in zip(SITE_COLUMNS, ["Na1", "Na", "0.1", "0.2", "0.3", "1"], strict=True):
        text = text.replace(f"_atom_site_{name}\n", f"_atom_site_{name} {value}\n")
    alone = only(text, Format.CIF)
    assert np.array_equal(alone.frac_coords, looped.frac_coords)
    assert alone.atomic_numbers == looped.atomic_numbers == [11]


@pytest.mark.parametrize(
    ("text", "number"), [("0.25", 0.25), ("0.25(3)", 0.25), ("-.5", -0.5), ("2.5e-1", 0.25)]
)
def test_coordinates_are_numbers_as_cif_writes_them(text, number):
    crystal = only(cif([f"Na1 Na {text} 0 0 1"]), Format.CIF)
    assert crystal.frac_coords.tolist() == [[number, 0, 0]]


@pytest.mark.parametrize("text", ["1_0", "?", ".", "0x1", "nan"])
def test_what_cif_does_not_call_a_number_is_none(text):
    crystal = only(cif([f"Na1 Na {text} 0 0 1"]), Format.CIF)
    assert np.isnan(crystal.frac_coords[0, 0])


def test_a_crystal_comes_out_of_another_process_as_it_went_in():
    crystal = only(salt(), Format.CIF)
    again = pickle.loads(pickle.dumps(crystal))
    assert type(again) is ParsedCrystal
    for ours, theirs in zip(again, crystal, strict=True):
        assert np.array_equal(ours, theirs)
        assert getattr(ours, "dtype", None) == getattr(theirs, "dtype", None)


def test_a_rounded_special_position_does_not_multiply_atoms():
    mirror = operations("x,y,z", "-x,-y,z", "-y,x-y,z", "-x+y,-x,z")
    cell = (5, 5, 8, 90, 90, 120)
    three = only(cif(["Na1 Na 0.001 0 0 1"], mirror, cell), Format.CIF)
    assert len(three.atomic_numbers) == 1


@pytest.mark.parametrize(("label", "number"), [("Na1", 11), ("O2a", 8), ("D", 1), ("Pb12", 82)])
def test_a_label_names_the_element_where_there_is_no_type_symbol(label, number):
    columns = ("label", "fract_x", "fract_y", "fract_z")
    assert only(cif([f"{label} 0 0 0"], columns=columns), Format.CIF).atomic_numbers == [number]


def test_a_site_needs_no_label_beside_its_type_symbol():
    columns = SITE_COLUMNS[1:5]
    assert only(cif(["'Na1+' 0 0 0"], columns=columns), Format.CIF).atomic_numbers == [11]


@pytest.mark.parametrize("label", ["CA1", "HO1", "Ow", "Wat1"])
def test_a_label_that_could_be_two_elements_is_not_guessed(label):
    failure = only(cif([f"{label} 0 0 0"], columns=("label", *SITE_COLUMNS[2:5])), Format.CIF)
    assert failure.reason is RejectReason.UNKNOWN_ELEMENT


def test_every_block_of_a_cif_that_holds_a_structure_is_a_crystal():
    text = "data_global\n_journal_name x\n" + NACL + cif(["X1 X 0 0 0 1"], name="y")
    text += NACL.replace("data_x", "data_z")
    found = read_document(text.encode(), Format.CIF)
    assert [isinstance(entry, ParsedCrystal) for entry in found] == [True, False, True]


def test_every_frame_of_an_extxyz_is_a_crystal_and_a_bad_one_leaves_the_next():
    text = FRAME.replace("pbc", "id=mp-1 pbc") + FRAME.replace("Na 0", "Q 0") + "\n" + FRAME
    first, second, third = read_document(text.encode(), Format.EXTXYZ)
    assert first.id == "mp-1"
    assert second.reason is RejectReason.UNKNOWN_ELEMENT
    assert third.id is None


def test_extxyz_columns_are_found_by_name():
    frame = FRAME.replace("species:S:1:pos:R:3", "pos:R:3:Z:I:1")
    frame = frame.replace("Na 0 0 0", "0 0 0 11").replace("Cl 2.5 2.5 2.5", "2.5 2.5 2.5 17")
    assert only(frame, Format.EXTXYZ).atomic_numbers.tolist() == [11, 17]


def test_json_may_hold_a_list_or_a_mapping_of_structures():
    listed = read_document(json.dumps([STRUCTURE, {"a": 1}]).encode(), Format.JSON)
    assert isinstance(listed[0], ParsedCrystal)
    assert listed[1].reason is RejectReason.UNREADABLE
    named = read_document(json.dumps({"mp-1": STRUCTURE, "mp-2": STRUCTURE}).encode(), Format.JSON)
    assert [crystal.id for crystal in named] == ["mp-1", "mp-2"]


def test_atoms_stand_by_electronegativity_and_then_in_the_order_of_the_file():
    sites = ["O1 O 0.1 0 0 1", "Na1 Na 0.5 0 0 1", "O2 O 0.3 0 0 1"]
    crystal = only(cif(sites), Format.CIF)
    assert crystal.atomic_numbers.tolist() == [11, 8, 8]
    np.testing.assert_allclose(crystal.frac_coords[:, 0], [0.5, 0.1, 0.3])


@pytest.mark.filterwarnings("ignore::DeprecationWarning:spglib.*")
@pytest.mark.parametrize(
    ("space_group", "cell", "species", "sites"),
    [
        ("Pnma", (10.3, 6.0, 4.7, 90, 90, 90), ["Li", "Fe", "O"], [(0, 0, 0), (0.28, 0.25, 0.97), (0.1, 0.05, 0.3)]),
        ("P6_3mc", (3.8, 3.8, 6.2, 90, 90, 120), ["Zn", "S"], [(1 / 3, 2 / 3, 0), (1 / 3, 2 / 3, 0.375)]),
        ("Fd-3m", (8.1, 8.1, 8.1, 90, 90, 90), ["Mg", "Al", "O"], [(0, 0, 0), (5 / 8, 5 / 8, 5 / 8), (0.39, 0.39, 0.39)]),
        ("P2_1/c", (5.1, 5.2, 5.3, 90, 99, 90), ["Zr", "O"], [(0.27, 0.04, 0.21), (0.07, 0.33, 0.34)]),
    ],
)  # fmt: skip
def test_expanded_symmetry_is_that_of_pymatgen(space_group, cell, species, sites):
    from pymatgen.core import Lattice, Structure
    from pymatgen.io.cif import CifWriter

    expected = Structure.from_spacegroup(
        space_group, Lattice.from_parameters(*cell), species, sites
    )
    crystal = only(str(CifWriter(expected, symprec=1e-3)), Format.CIF)
    found = Structure(crystal.lattice, list(crystal.atomic_numbers), crystal.frac_coords)
    assert found.composition == expected.composition
    for cutoff in (3.0, 4.5):
        distances = [
            np.sort(structure.get_neighbor_list(cutoff)[3]) for structure in (found, expected)
        ]
        np.testing.assert_allclose(*distances, atol=1e-4)
