"""Each kind of row that is no crystal becomes a reject with its reason."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.schema import CRYSTAL_SCHEMA, RejectReason, Stage
from emrl_ray.crystals.validation import ValidationLimits, validate

LIMITS = ValidationLimits(max_atoms=10, max_pairs=100_000, cutoff=5.0, min_distance=0.3)
CUBE = [5.0, 0, 0, 0, 5.0, 0, 0, 0, 5.0]


def crystals(*rows, schema=CRYSTAL_SCHEMA):
    """Return a table of rock salt cells, each with the changes of a row."""
    good = {
        "formula": "NaCl",
        "lattice": CUBE,
        "atomic_numbers": [11, 17],
        "frac_coords": [0, 0, 0, 0.5, 0.5, 0.5],
    }
    full = [{"id": f"row-{index}", **good, **row} for index, row in enumerate(rows)]
    return pa.Table.from_pylist(full, schema=schema)


def reason_of(row, schema=CRYSTAL_SCHEMA, limits=LIMITS):
    """Return the reject of a row that stands between two good ones."""
    good, rejects = validate(crystals({}, row, {}, schema=schema), limits, "file")
    assert good.column("id").to_pylist() == ["row-0", "row-2"]
    (reject,) = rejects
    assert reject[1:3] == ("file", Stage.VALIDATE)
    return reject.reason


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"id": ""}, RejectReason.UNREADABLE),
        ({"lattice": None}, RejectReason.BAD_CELL),
        ({"lattice": [float("nan"), *CUBE[1:]]}, RejectReason.BAD_CELL),
        ({"lattice": [float("inf"), *CUBE[1:]]}, RejectReason.BAD_CELL),
        ({"lattice": [None, *CUBE[1:]]}, RejectReason.BAD_CELL),
        ({"lattice": [0.0] * 9}, RejectReason.BAD_CELL),
        ({"lattice": [*CUBE[:6], 5.0, 5.0, 0]}, RejectReason.BAD_CELL),
        ({"lattice": [1e200 * value for value in CUBE]}, RejectReason.BAD_CELL),
        ({"atomic_numbers": None}, RejectReason.NO_ATOMS),
        ({"atomic_numbers": [], "frac_coords": []}, RejectReason.NO_ATOMS),
        ({"atomic_numbers": [0, 17]}, RejectReason.UNKNOWN_ELEMENT),
        ({"atomic_numbers": [119, 17]}, RejectReason.UNKNOWN_ELEMENT),
        ({"atomic_numbers": [None, 17]}, RejectReason.UNKNOWN_ELEMENT),
        ({"frac_coords": None}, RejectReason.BAD_COORDINATES),
        ({"frac_coords": [0, 0, 0]}, RejectReason.BAD_COORDINATES),
        ({"frac_coords": [0, 0, 0, 0.5, None, 0.5]}, RejectReason.BAD_COORDINATES),
        ({"frac_coords": [0, 0, 0, 0.5, float("inf"), 0.5]}, RejectReason.BAD_COORDINATES),
        ({"frac_coords": [0, 0, 0, 0.5, 1e300, 0.5]}, RejectReason.BAD_COORDINATES),
        (
            {"atomic_numbers": [1] * 11, "frac_coords": list(np.linspace(0, 0.9, 33))},
            RejectReason.TOO_MANY_ATOMS,
        ),
        ({"lattice": [0.02 * value for value in CUBE]}, RejectReason.TOO_MANY_PAIRS),
        ({"frac_coords": [0, 0, 0, 0.99, 0, 0]}, RejectReason.OVERLAPPING_SITES),
    ],
)
def test_a_bad_row_becomes_a_reject_and_its_neighbours_stay(row, reason):
    assert reason_of(row) is reason


def test_an_atomic_number_that_does_not_fit_a_byte_is_not_wrapped_around():
    wide = pa.schema(
        [
            pa.field("atomic_numbers", pa.large_list(pa.int64()))
            if f.name == "atomic_numbers"
            else f
            for f in CRYSTAL_SCHEMA
        ]
    )
    assert reason_of({"atomic_numbers": [300, 17]}, wide) is RejectReason.UNKNOWN_ELEMENT
    assert reason_of({"atomic_numbers": [-1, 17]}, wide) is RejectReason.UNKNOWN_ELEMENT


def test_a_lattice_of_another_length_is_rejected_where_the_type_allows_one():
    loose = pa.schema(
        [
            pa.field("lattice", pa.list_(pa.float32())) if f.name == "lattice" else f
            for f in CRYSTAL_SCHEMA
        ]
    )
    assert reason_of({"lattice": CUBE[:6]}, loose) is RejectReason.BAD_CELL


def test_pairs_and_distances_are_unchecked_without_their_limits():
    dense = {"lattice": [0.1 * value for value in CUBE], "frac_coords": [0, 0, 0, 0, 0, 0]}
    good, rejects = validate(crystals(dense), ValidationLimits(max_atoms=10, max_pairs=1))
    assert good.num_rows == 1
    assert rejects == []


def test_a_reject_names_the_source_of_its_row_and_what_was_wrong():
    table = crystals({}, {"atomic_numbers": [1] * 11, "frac_coords": [0.0] * 33}, {"id": "x"})
    _, (reject,) = validate(table, LIMITS, ["a.cif", "b.cif", "c.cif"])
    assert reject.source == "b.cif"
    assert reject.detail == "11 atoms, at most 10"


def test_further_columns_stay_with_their_rows():
    table = crystals({}, {"lattice": None}, {}).append_column("gap", pa.array([1.0, 2.0, 3.0]))
    good, _ = validate(table, LIMITS)
    assert good.column("gap").to_pylist() == [1.0, 3.0]
    assert CrystalBatch.from_arrow(good).n_crystals == 2


def test_chunks_and_slices_of_a_table_are_read_where_they_are():
    table = crystals({}, {"lattice": None}, {}, {"atomic_numbers": [0, 1]}, {})
    parts = pa.concat_tables([table.slice(0, 2), table.slice(2)]).slice(1)
    good, rejects = validate(parts, LIMITS)
    assert good.column("id").to_pylist() == ["row-2", "row-4"]
    assert [reject.id for reject in rejects] == ["row-1", "row-3"]


def test_an_empty_table_is_valid():
    assert validate(crystals(), LIMITS)[0].num_rows == 0


def test_another_table_is_refused_in_one_line():
    with pytest.raises(
        ValueError, match=r"^here: not a crystals table, column 'lattice' is missing"
    ):
        validate(pa.table({"id": ["a"]}), LIMITS, "here")


def test_all_published_crystals_are_valid(data_dir):
    for name in ("hoip", "mps"):
        table = pq.read_table(data_dir / f"{name}.parquet")
        good, rejects = validate(table, ValidationLimits(1000, 400_000, 5.0, 0.3))
        assert (good.num_rows, rejects) == (table.num_rows, [])
