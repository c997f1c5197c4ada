"""A library is made on Ray as it is made in this process."""

from emrl_ray.commands.generate import generate
from emrl_ray.config import GenerateConfig
from emrl_ray.io.parquet import read_table
from tests.support.parents import write_parents


def make(folder, **options):
    return generate(GenerateConfig(out=str(folder), **options))


def test_a_library_is_the_same_here_and_on_workers(tmp_path, ray_session):
    parents = write_parents(tmp_path / "parents.parquet")
    options = {"parents": parents, "known": parents, "block_rows": 40}
    here = make(tmp_path / "here", engine="local", **options)
    there = make(tmp_path / "there", workers=2, **options)
    assert here.counts == there.counts
    assert read_table(here.crystals).equals(read_table(there.crystals))
