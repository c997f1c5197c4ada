"""Difficult CIFs: pymatgen is the arbiter, and where it reads something else the page says so and why."""

import re
import warnings

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from emrl_ray.crystals.batch import CrystalBatch
from tests.support.crystal_files import load
from tests.support.difficult_cifs import CASES
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "formats.md"
EQUAL = 1e-4
"""Å between two atoms that are the same."""


def theirs(text):
    """Return pymatgen's first structure, None if it finds none."""
    from pymatgen.io.cif import CifParser

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return CifParser.from_str(text).parse_structures(primitive=False)[0]
        except Exception:
            return None


def farthest(batch, structure):
    """Return the distance (Å) between atoms of the same element, paired as well as can be, at most."""
    steps = batch.frac_coords[:, None] - structure.frac_coords
    steps -= np.rint(steps)
    distances = np.linalg.norm(steps @ batch.lattice[0], axis=2)
    numbers = np.array([site.specie.Z if site.is_ordered else 0 for site in structure])
    distances[batch.atomic_numbers[:, None] != numbers] = np.inf
    try:
        return distances[linear_sum_assignment(distances)].max()
    except ValueError:  # not of the same elements
        return np.inf


@pytest.mark.parametrize("name", CASES)
def test_a_difficult_cif_is_read_as_noted(name, tmp_path):
    case = CASES[name]
    (tmp_path / "a.cif").write_bytes(case.text.encode())
    crystals, rejects, _ = load(tmp_path, tmp_path)
    batch, structure = CrystalBatch.from_arrow(crystals), theirs(case.text)
    ours = int(batch.n_atoms[0]) if batch.n_crystals else rejects[0][1]
    assert (ours, structure and len(structure)) == (case.ours, case.theirs)
    both = bool(batch.n_crystals) and structure is not None
    same = both and len(structure) == ours and farthest(batch, structure) < EQUAL
    neither = not batch.n_crystals and structure is None
    assert bool(case.why) == (not same and not neither)


def test_the_page_names_each_difference():
    table = PAGE.read_text().partition("## Where gemmi's way and pymatgen differ")[2]
    found = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", table, re.MULTILINE)
    expected = [
        (name, str(case.ours), str(case.theirs or "no structure"), case.why)
        for name, case in CASES.items()
        if case.why
    ]
    assert [row for row in found if row[0] in CASES] == expected
