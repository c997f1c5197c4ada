"""A library from any source holds no crystal twice, says what is known, and refuses contradictions."""

from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from benchmarks.trust.changed_crystals import in_other_cells
from emrl_ray.commands.generate import generate
from emrl_ray.config import GenerateConfig, UserError
from emrl_ray.config.parsing import parse
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import resolve
from tests.support.crystals import random_batch
from tests.support.parents import write_crystals, write_parents


def make(folder, **options):
    return generate(GenerateConfig(out=str(folder), **options))


@pytest.fixture
def parents(tmp_path):
    return write_parents(tmp_path / "parents.parquet")


def structures(table):
    batch = CrystalBatch.from_arrow(table)
    return [
        Structure(
            batch.lattice[row],
            batch.atomic_numbers[slice(*batch.offsets[row : row + 2])].tolist(),
            batch.frac_coords[slice(*batch.offsets[row : row + 2])],
        )
        for row in range(batch.n_crystals)
    ]


def test_a_library_holds_no_crystal_twice(tmp_path, parents):
    result = make(tmp_path / "library", parents=parents)
    table = read_table(result.crystals)
    assert result.counts.balanced
    assert result.counts.rejects["duplicate"] > 0
    assert result.counts.rows_out == table.num_rows < result.combinations
    assert set(table["parent_id"].to_pylist()) == set("acd")  # b is a, its sites swapped
    by_formula = defaultdict(list)
    for formula, structure in zip(table["formula"].to_pylist(), structures(table), strict=True):
        by_formula[formula].append(structure)
    matcher = StructureMatcher(scale=True, primitive_cell=True)
    for same in by_formula.values():
        assert len(matcher.group_structures(same)) == len(same)


def test_parents_in_other_cells_add_nothing(tmp_path, parents):
    alone = make(tmp_path / "alone", parents=parents)
    batch = CrystalBatch.from_arrow(read_table(parents))
    both = CrystalBatch.concatenate([batch, in_other_cells(batch)])
    twice = write_crystals(tmp_path / "twice.parquet", both, list("abcdefgh"))
    result = make(tmp_path / "both", parents=twice)
    assert result.counts.rows_out == alone.counts.rows_out
    formulas = [
        sorted(read_table(each.crystals)["formula"].to_pylist()) for each in (alone, result)
    ]
    assert formulas[0] == formulas[1]


def test_an_unstrained_library_holds_every_combination_once(tmp_path):
    options = {"strain": 0.0, "only_elements": ["Na", "K", "Cl", "Br", "O"], "block_rows": 7}
    result = make(tmp_path / "library", **options)
    assert result.counts.rows_out == result.combinations < 100
    assert not result.counts.rejects


def test_count_is_reached_although_candidates_are_left_out(tmp_path, parents):
    some = make(tmp_path / "some", parents=parents, count=40, block_rows=8)
    every = make(tmp_path / "every", parents=parents)
    assert some.counts.rows_out == 40
    assert some.counts.rejects["duplicate"] > 0
    first = read_table(every.crystals).slice(0, 40)
    assert read_table(some.crystals).equals(first)


def test_known_crystals_are_marked_or_dropped_at_whatever_volume(tmp_path):
    sites = {"a": ["Cs", "Rb"], "b": ["Pb", "Sn"], "x": ["I", "Br"]}
    plain = read_table(make(tmp_path / "plain", **sites).crystals)
    batch = CrystalBatch.from_arrow(plain.take([1, 5]))
    larger = in_other_cells(batch)._replace(lattice=1.1 * in_other_cells(batch).lattice)
    known = write_crystals(tmp_path / "known.parquet", larger, ["one", "five"])
    marked = make(tmp_path / "marked", known=known, **sites)
    table = read_table(marked.crystals)
    assert table["known_id"].to_pylist() == [None, "one", None, None, None, "five", None, None]
    assert table.drop_columns("known_id").equals(plain)
    dropped = make(tmp_path / "dropped", known=known, known_crystals="drop", **sites)
    assert dropped.counts.rejects == {"known": 2}
    assert read_table(dropped.crystals).equals(plain.take([0, 2, 3, 4, 6, 7]))
    few = make(tmp_path / "few", known=known, known_crystals="drop", max_atoms=5, **sites)
    assert few.counts.rejects == {"known": 2}  # their cells have more than five atoms
    everything = write_crystals(
        tmp_path / "all.parquet", CrystalBatch.from_arrow(plain), list("abcdefgh")
    )
    with pytest.raises(UserError, match=r"no candidate is left: 8 rows in = .* \(known 8\)"):
        make(tmp_path / "none", known=everything, known_crystals="drop", **sites)


def test_known_crystals_that_no_candidate_can_be_are_counted(tmp_path, parents, capsys):
    table = read_table(parents)
    empty = table.slice(0, 1).set_column(
        3, table.schema.field(3), pa.array([[]], table.schema.field(3).type)
    )
    write_parquet(pa.concat_tables([table, empty]), resolve(tmp_path / "known.parquet"))
    make(tmp_path / "library", parents=parents, known=str(tmp_path / "known.parquet"))
    said = capsys.readouterr().out
    assert "generate: known: 5 rows in = 4 rows out + 1 rejects (no_atoms 1)" in said
    rejects = read_table(tmp_path / "library" / "_rejects" / "known.parquet")
    assert rejects["id"].to_pylist() == ["a"]


def test_crystals_none_of_which_can_be_a_parent_are_said_with_the_reasons(tmp_path):
    batch = random_batch(3)
    copper = batch._replace(atomic_numbers=np.full_like(batch.atomic_numbers, 29))
    file = write_crystals(tmp_path / "p.parquet", copper, list("abc"))
    with pytest.raises(UserError, match=r"parent: 3 read, 0 usable \(no_oxidation_states 3\)$"):
        make(tmp_path / "library", parents=file)


def test_a_killed_substitution_goes_on_and_ends_the_same(tmp_path, parents):
    options = {"parents": parents, "count": 60, "block_rows": 16}
    make(tmp_path / "whole", **options)
    make(tmp_path / "killed", **options)
    for name in ("_manifest.json", "_keys/candidates-000001.parquet", "slice-000001.parquet"):
        (tmp_path / "killed" / name).unlink()
    make(tmp_path / "killed", **options)
    assert read_table(tmp_path / "killed").equals(read_table(tmp_path / "whole"))
    (tmp_path / "parents.parquet").unlink()
    write_crystals(tmp_path / "parents.parquet", random_batch(3), list("abc"))
    with pytest.raises(UserError, match="what --from names is not what it was"):
        make(tmp_path / "killed", **options)
    other = write_crystals(tmp_path / "other.parquet", random_batch(2), list("ab"))
    with pytest.raises(UserError, match=r"--from was '[^;]+/other.parquet'\): use --overwrite"):
        make(tmp_path / "killed", **{**options, "parents": other})


def test_crystals_that_are_no_parents_are_rejects(tmp_path, parents, capsys):
    tables = [read_table(parents), read_table(parents).slice(0, 1)]
    brass = tables[1].set_column(
        3, tables[1].schema.field(3), pa.array([[29, 30, 29]], tables[1].schema.field(3).type)
    )
    write_parquet(pa.concat_tables([tables[0], brass]), resolve(tmp_path / "more.parquet"))
    make(tmp_path / "library", parents=str(tmp_path / "more.parquet"))
    rejects = read_table(tmp_path / "library" / "_rejects" / "parents.parquet")
    assert rejects["reason"].to_pylist() == ["no_oxidation_states"]
    assert "generate: parents: 5 rows in = 4 rows out + 1 rejects" in capsys.readouterr().out


def test_filters_hold_for_prototypes(tmp_path):
    options = {"exclude_elements": ["O", "F"], "max_elements": 2, "max_atoms": 2, "count": 500}
    batch = CrystalBatch.from_arrow(read_table(make(tmp_path / "library", **options).crystals))
    assert not set(batch.atomic_numbers.tolist()) & {8, 9}
    assert batch.n_atoms.max() == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"parents": "p", "a": ["Cs"]}, "--a Cs: replaces no ions of --from p"),
        ({"a": ["Cs"], "b": ["Pb"]}, "--x: name at least one element for each of A, B and X"),
        ({"a": [], "b": [], "x": ["I"]}, "--a, --b: name at least one element"),
        ({"threshold": 0.1}, "--threshold 0.1: needs --from"),
        ({"parents": "p", "threshold": 2.0}, r"--threshold 2.0: must lie in"),
        ({"tolerance": "0.8:1"}, "--tolerance 0.8:1: needs --a, --b and --x"),
        ({"tolerance": "1:0.8"}, "--tolerance 1:0.8: give LOW:HIGH"),
        ({"parents": "p", "strain": 0.1}, "--strain 0.1: needs prototypes"),
        ({"parents": "p", "part": "1/2"}, "--part 1/2: needs prototypes"),
        ({"parents": "p", "seed": 1}, "--seed 1: needs prototypes"),
        ({"a": ["Cs"], "b": ["Pb"], "x": ["I"], "seed": 1}, "--seed 1: needs prototypes"),
        ({"parents": "p", "strain": 0.0}, "--strain 0.0: needs prototypes"),
        ({"known_crystals": "drop"}, "--known-crystals drop: needs --known"),
        ({"max_elements": 0}, "--max-elements 0: must be at least 1"),
        ({"max_atoms": 0}, "--max-atoms 0: must be at least 1"),
        ({"strain": 0.5}, r"--strain 0.5: must lie in \[0, 0.2\]"),
    ],
)
def test_options_that_contradict_each_other_are_one_clear_line(options, said):
    with pytest.raises(UserError, match=said) as error:
        GenerateConfig(out="o", **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"exclude_elements": ["Xx"]}, "--exclude-elements Xx: no such element"),
        ({"only_elements": ["O"]}, "leave no combination of prototype and ions"),
        ({"only_elements": ["O"], "exclude_elements": ["O"]}, "all of them are excluded as well"),
        (
            {"a": ["Cs"], "b": ["Pb"], "x": ["I"], "max_atoms": 4},
            "--tolerance, --octahedral, --max-elements, --max-atoms or the elements leave none",
        ),
        ({"a": ["Cs"], "b": ["Pd2"], "x": ["I"]}, "--b Pd2: no such element"),
        ({"parents": "missing.parquet"}, "missing.parquet: no such Parquet file"),
        ({"known": "missing.parquet"}, "missing.parquet: no such Parquet file"),
        ({"known": __file__}, "not a Parquet file"),
        ({"parents": __file__}, "not a Parquet file"),
    ],
)
def test_what_cannot_be_made_is_refused_before_any_work(tmp_path, options, said):
    with pytest.raises((ValueError, FileNotFoundError), match=said) as error:
        make(tmp_path / "library", **options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "library").exists()


def test_from_is_the_parents_on_the_command_line(tmp_path):
    words = ["--from", "p", "--out", "o", "--exclude-elements", "Pb"]
    config = parse(GenerateConfig, words)
    assert (config.parents, config.source) == ("p", "substitution")
    for words in (["--out", "o", "--from"], ["--out", "o", "--parents"]):
        with pytest.raises(UserError, match=r"^argument --from: expected one argument"):
            parse(GenerateConfig, words)
    with pytest.raises(UserError, match=r"^--from \[1, 2\]: must be text"):
        parse(GenerateConfig, [], {"from": [1, 2], "out": "o"})
    sites = parse(GenerateConfig, ["--out", "o", "--a", "Cs,Rb", "--b", "Pb", "--x", "I"])
    assert (sites.a, sites.source) == (["Cs", "Rb"], "perovskites")
