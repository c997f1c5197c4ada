"""Changed CIFs through the whole loading path; benchmarks/faults/fuzz_cif.py does the same with a hundred thousand.

They are read in this process; tests/integration/test_fuzz.py reads them in processes that may be killed.
"""

import warnings
from itertools import islice, product

import pytest

from benchmarks.faults.changed_texts import SEEDS, mutated
from benchmarks.faults.fuzz_cif import run_batch
from emrl_ray.crystals.schema import RejectReason
from emrl_ray.sources.files.formats.cif import MAX_OPERATIONS
from emrl_ray.sources.files.formats.registry import Format, read_document
from tests.support.crystal_files import SITE_COLUMNS, PoolHere, cif, load
from tests.support.difficult_cifs import CASES, hm, operations

COUNT = 3000


def test_every_changed_cif_is_a_row_or_a_reject(tmp_path):
    texts = [text.encode() for text in (*SEEDS, *(case.text for case in CASES.values()))]
    found = run_batch(1, range(COUNT), texts, PoolHere(), tmp_path)
    assert found.inputs == COUNT
    assert found.rows > COUNT / 50


def test_a_changed_cif_follows_from_its_seed_and_number():
    texts = [text.encode() for text in SEEDS]
    some = [mutated(0, number, texts) for number in range(50)]
    assert some == [mutated(0, number, texts) for number in range(50)]
    assert len({*some}) > 40


def test_a_loss_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.faults.fuzz_cif._inputs", lambda loaded: [])
    with pytest.raises(AssertionError, match="neither row nor reject"):
        run_batch(1, range(3), [text.encode() for text in SEEDS], PoolHere(), tmp_path)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "nan", "?"])
def test_coordinates_that_are_no_numbers_are_a_reject_without_a_warning(tmp_path, number):
    (tmp_path / "a.cif").write_text(cif([f"Na1 Na {number} 0 0 1"], hm("F m -3 m")))
    (tmp_path / "b.cif").write_text(cif([f"Na1 Na {number} 0 0 1"]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, rejects, _ = load(tmp_path, tmp_path)
    assert rejects == [(name, RejectReason.BAD_COORDINATES) for name in ("a", "b")]


def test_a_cif_with_thousands_of_operations_is_a_reject():
    shifts = product(range(24), repeat=3)
    listed = [f"x+{i}/24,y+{j}/24,z+{k}/24" for i, j, k in islice(shifts, MAX_OPERATIONS + 1)]
    (failure,) = read_document(cif(["Na1 Na 0 0 0 1"], operations(*listed)).encode(), Format.CIF)
    assert failure.reason is RejectReason.UNREADABLE
    assert "symmetry operations" in failure.detail
    (crystal,) = read_document(
        cif(["Na1 Na 0 0 0 1"], operations(*["x,y,z"] * 5000)).encode(), Format.CIF
    )
    assert len(crystal.atomic_numbers) == 1


@pytest.mark.parametrize("number", [2, 14, 48, 62, 125, 166, 194, 203, 225, 227, 228])
def test_a_space_group_by_its_number_is_that_by_its_standard_symbol(number):
    import gemmi
    import numpy as np

    symbol = gemmi.get_spacegroup_reference_setting(number).hm
    angles = (90, 90, 120) if 143 <= number < 195 else (90, 90, 90)
    columns, sites = SITE_COLUMNS[1:5], ["Na 0.11 0.12 0.13"]
    by_number, by_symbol = (
        read_document(cif(sites, said, (9, 9, 9, *angles), columns).encode(), Format.CIF)[0]
        for said in (f"_symmetry_Int_Tables_number {number}", hm(symbol))
    )
    assert np.array_equal(by_number.frac_coords, by_symbol.frac_coords)
