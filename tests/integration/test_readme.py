"""What the README tells people to type works as it stands."""

from __future__ import annotations

import itertools
import re
import shlex
import tarfile
from pathlib import Path

import pyarrow.csv as pcsv
import pytest

from emrl_ray import cli
from emrl_ray.config.parsing import parse
from emrl_ray.io.parquet import read_table
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text()

SMALLER = {
    "train": ["--epochs", "2", "--cutoff", "4", "--graphs", "graphs", "--heads", "linear"],
    "screen": ["--top", "10"],
    "benchmark": ["--epochs", "2", "--repeats", "1"],
    "map": ["--perplexity", "2"],
    "generate": ["--count", "50"],
}
"""Options that make the README's commands short; the last of two wins."""
GRAPHS = ["featurize", "crystals", "--cutoff", "4", "--out", "graphs"]
"""Finds once the pairs that each `train` of the README would find anew."""


def blocks(language: str) -> list[str]:
    """Return the README's code blocks in a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands(language: str = "sh") -> list[list[str]]:
    """Return the words of every `emrl-ray` command in the README's blocks of a language, in order.

    Those in `sh` run here; those in `console` need a network or files that others publish.
    """
    lines = "".join(blocks(language)).splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("emrl-ray ")]


def rock_salt(cation: str, anion: str, a: float) -> str:
    """Return a CIF of the conventional cell of rock salt, lattice parameter `a` in Å."""
    corners = [(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)]
    sites = [(cation, *site) for site in corners]
    sites += [(anion, (x + 0.5) % 1, y, z) for x, y, z in corners]
    cell = "".join(f"_cell_length_{axis} {a:.4f}\n" for axis in "abc")
    angles = "".join(f"_cell_angle_{angle} 90\n" for angle in ("alpha", "beta", "gamma"))
    labels = "".join(f"_atom_site_{label}\n" for label in ("type_symbol", *FRACTIONAL))
    atoms = "".join(f"{element} {x} {y} {z}\n" for element, x, y, z in sites)
    return f"data_{cation}{anion}\n{cell}{angles}loop_\n{labels}{atoms}"


FRACTIONAL = ("fract_x", "fract_y", "fract_z")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with the inputs that the README's commands name."""
    monkeypatch.chdir(tmp_path)
    for name in ("known", "new"):
        Path(name).mkdir()
    lengths = [4.6, 4.9, 5.2, 5.6, 6.0]
    cifs = {
        f"{cation}{anion}-{a}": (rock_salt(cation, anion, a), 0.4 * a - 1.0)
        for cation, anion, a in itertools.product(
            ["Na", "K", "Mg", "Ca"], ["F", "Cl", "O", "S"], lengths
        )
    }
    for name, (cif, _) in cifs.items():
        Path("known", f"{name}.cif").write_text(cif)
    Path("known", "id_prop.csv").write_text(
        "".join(f"{name},{gap}\n" for name, (_, gap) in cifs.items())
    )
    Path("new", "MgO.cif").write_text(rock_salt("Mg", "O", 4.2))
    with tarfile.open("candidates.tar.gz", "w:gz") as archive:
        for cation, a in itertools.product(["Na", "K", "Ca", "Pb"], [4.7, 5.1, 5.5]):
            path = Path("new", "candidate.cif")
            path.write_text(rock_salt(cation, "S", a))
            archive.add(path, f"{cation}S-{a}.cif")
            path.unlink()
    return tmp_path


def test_every_command_of_the_readme_has_valid_options():
    screening = ["ingest", "train", "ingest", "screen", "screen", "predict"]
    looking = ["evaluate", "neighbors", "embed"]
    making = ["generate"] * 3
    comparing = ["benchmark", "train", "train", "map"]
    assert [words[0] for words in commands()] == [*screening, *looking, *making, *comparing]
    starts = commands("console")
    assert [words[0] for words in starts] == ["fetch"] * 3 + ["ingest"] * 4
    for verb, *words in commands() + starts:
        parse(cli.VERBS[verb].config, words, name=verb)


def test_the_readme_names_targets_of_the_makefile():
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"make ([a-z-]+)(?:`|    )", README + contributing))
    assert {"demo", "test", "test-integration", "test-all", "test-slow"} <= named <= set(targets)


@pytest.mark.timeout(600)
def test_the_example_of_the_readme_runs_from_files_to_a_shortlist(folder, ray_session):
    words = [[verb, *rest, *SMALLER.get(verb, [])] for verb, *rest in commands()]
    words.insert(1, GRAPHS)
    (example,) = blocks("python")
    for each in words:
        assert cli.main(each) == 0, each
    exec(example, {})

    assert read_table("crystals").num_rows == 80
    shortlist = read_table("run/shortlist.parquet")
    assert shortlist.num_rows == 9
    assert not any("Pb" in formula for formula in shortlist.column("formula").to_pylist())
    assert pcsv.read_csv("predictions.csv").column("formula").to_pylist() == ["MgO"]
    assert read_table("predictions.parquet").num_rows == 1
    assert {"metrics.json", "parity.png"} <= {path.name for path in Path("checked").iterdir()}
    assert read_table("embeddings.parquet").num_rows == 12
    made = {name: read_table(name) for name in ("prototypes", "substituted", "perovskites")}
    assert {name: table.num_rows > 0 for name, table in made.items()} == dict.fromkeys(made, True)
    assert set(made["substituted"].column("parent_id").to_pylist()) <= {
        *read_table("crystals").column("id").to_pylist()
    }
    compared = Path("compared/benchmark.md").read_text()
    assert all(f"| {method} |" in compared for method in ("CGCNN", "EMRL-GB", "classical"))
    assert {"map.png", "map.html", "map.parquet"} <= {path.name for path in Path("map").iterdir()}
