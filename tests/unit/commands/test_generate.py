"""A library is valid, reproducible, resumable and fast."""

import json
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from pymatgen.core import Lattice, Structure

from emrl_ray.commands.generate import generate
from emrl_ray.commands.generation_partitions import Block, generated_table
from emrl_ray.config import GenerateConfig, UserError
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.schema import CRYSTAL_SCHEMA
from emrl_ray.crystals.validation import ValidationLimits, validate
from emrl_ray.io.parquet import read_table
from emrl_ray.sources.generation.ion_assignments import ion_assignments
from emrl_ray.sources.generation.strained_prototypes import StrainedPrototypes
from emrl_ray.sources.generation.strained_prototypes import generate as draw

NEUTRAL = ion_assignments()


def make(folder, **options):
    return generate(GenerateConfig(out=str(folder), **options))


def test_twenty_thousand_crystals_take_seconds(tmp_path):
    began = time.monotonic()
    result = make(tmp_path / "library")
    assert time.monotonic() - began < 20
    assert result.counts.balanced
    table = read_table(result.crystals)
    assert table.num_rows == result.counts.rows_out == 20_000
    assert table.schema.names == [*CRYSTAL_SCHEMA.names, "prototype"]
    assert len(set(table.column("id").to_pylist())) == 20_000
    manifest = json.loads((tmp_path / "library" / "_manifest.json").read_text())
    assert manifest["counts"]["rows_out"] == 20_000
    assert manifest["combinations"] == len(NEUTRAL) > 10_000


def test_every_crystal_is_valid_at_the_largest_strain():
    block = Block("all", np.arange(5000), None)
    table = generated_table(StrainedPrototypes(NEUTRAL, 0, 0.2), block, labelled=False)
    limits = ValidationLimits(max_atoms=1000, max_pairs=400_000, cutoff=None, min_distance=1.0)
    good, rejects = validate(table, limits, "library")
    assert not rejects
    assert good.num_rows == 5000


def test_every_crystal_is_charge_neutral():
    sample = draw(NEUTRAL, seed=0, strain=0.03, start=0, stop=20_000)
    assert not np.add.reduceat(sample.charges, sample.crystals.offsets[:-1]).any()


def test_distances_change_by_no_more_than_the_strain():
    still = draw(NEUTRAL, 0, 0.0, 0, 200).crystals
    moved = draw(NEUTRAL, 0, 0.1, 0, 200).crystals
    np.testing.assert_array_equal(still.atomic_numbers, moved.atomic_numbers)
    stretch = np.linalg.svd(np.linalg.solve(still.lattice, moved.lattice), compute_uv=False)
    assert 0.9 <= stretch.min() < 0.91
    assert 1.09 < stretch.max() <= 1.1
    shortest = [shortest_distance(batch, 11) for batch in (still, moved)]
    assert abs(shortest[1] / shortest[0] - 1) <= 0.1


def shortest_distance(batch, index):
    atoms = slice(batch.offsets[index], batch.offsets[index + 1])
    crystal = Structure(
        Lattice(batch.lattice[index]),
        batch.atomic_numbers[atoms].tolist(),
        batch.frac_coords[atoms],
    )
    return min(each.nn_distance for site in crystal.get_all_neighbors(6.0) for each in site)


def test_a_library_goes_through_all_combinations_before_it_repeats_one():
    total = len(NEUTRAL)
    first = draw(NEUTRAL, 0, 0.03, 0, total).combination
    second = draw(NEUTRAL, 0, 0.03, total, 2 * total).combination
    assert len(set(first.tolist())) == len(set(second.tolist())) == total
    assert (first != second).any()


def test_a_crystal_depends_on_seed_and_number_alone():
    whole = draw(NEUTRAL, 7, 0.03, 0, 100).crystals
    partitions = [draw(NEUTRAL, 7, 0.03, start, start + 25).crystals for start in (0, 25, 50, 75)]
    for one, other in zip(whole, CrystalBatch.concatenate(partitions), strict=True):
        np.testing.assert_array_equal(one, other)
    other = draw(NEUTRAL, 8, 0.03, 0, 100).crystals
    assert not np.array_equal(whole.lattice, other.lattice)


def test_the_same_seed_gives_the_same_table(tmp_path):
    tables = [read_table(make(tmp_path / name, count=300).crystals) for name in "ab"]
    assert tables[0].equals(tables[1])


def test_a_killed_run_goes_on_and_ends_the_same(tmp_path):
    make(tmp_path / "whole", count=1000, block_rows=128)
    make(tmp_path / "killed", count=1000, block_rows=128)
    untouched = tmp_path / "killed" / "slice-000000.parquet"
    stamp = untouched.stat().st_mtime_ns
    for name in ("_manifest.json", "slice-000003.parquet", "slice-000007.parquet"):
        (tmp_path / "killed" / name).unlink()
    result = make(tmp_path / "killed", count=1000, block_rows=128)
    assert untouched.stat().st_mtime_ns == stamp
    assert result.counts.rows_out == 1000
    assert (tmp_path / "killed" / "_manifest.json").exists()
    assert read_table(tmp_path / "killed").equals(read_table(tmp_path / "whole"))


def test_other_arguments_on_the_same_folder_are_refused(tmp_path):
    make(tmp_path / "library", count=10)
    with pytest.raises(UserError, match="seed was 0, is 1"):
        make(tmp_path / "library", count=10, seed=1)
    make(tmp_path / "library", count=10, seed=1, overwrite=True)


def test_parts_of_a_library_share_no_composition(tmp_path):
    first, second = (
        read_table(make(tmp_path / part, count=2000, seed=seed, part=f"{part}/2").crystals)
        for seed, part in enumerate("12")
    )
    assert not set(first["formula"].to_pylist()) & set(second["formula"].to_pylist())


@pytest.mark.parametrize("part", ["0/2", "3/2", "half", "1", "1/0"])
def test_a_part_that_is_none_is_refused_in_one_line(part):
    with pytest.raises(UserError, match=f"--part {part}: give K/N"):
        GenerateConfig(out="", part=part)


def test_a_part_without_combinations_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"--part .*: no combination of ions is in it"):
        make(tmp_path / "library", part="2/1000000007")
    assert not (tmp_path / "library").exists()


def test_labels_are_those_of_the_unlabelled_crystals(tmp_path):
    options = {"count": 60, "block_rows": 20, "seed": 5}
    labelled = read_table(make(tmp_path / "labelled", label="ewald", **options).crystals)
    plain = read_table(make(tmp_path / "plain", **options).crystals)
    assert labelled.drop_columns("ewald_energy").equals(plain)
    field = pq.read_schema(tmp_path / "labelled" / "slice-000000.parquet").field("ewald_energy")
    assert field.metadata[b"unit"] == b"eV/atom"
    energies = labelled["ewald_energy"].to_numpy()
    assert (energies < 0).all()
    assert energies.std() > 5
