"""Mutants of the package: how many small errors the tests find.

    python -m benchmarks.mutants.run draw --tree DIR          writes results/mutants-17.json
    python -m benchmarks.mutants.run run --tree DIR --suite all
    python -m benchmarks.mutants.run table                    prints the results as Markdown

`draw` reads a tree and chooses two sites of each family with a seed (`--seed`, 17). A mutant is stored by its
function, the text before and the text after. So it also applies to a later version of the tree.
`REDRAWN` holds drawn mutants that no user could notice, with the reason; `draw` passes over them.

`run` applies one mutant at a time to a copy of the tree and runs pytest there until the first failure.
Test files that import the mutated module run first, then files that import its room, then the rest.
Within each group the quick files come first. The suites are `old` (all of `tests/`, as the tree has
them), `test` (the tests of `make test`) and `all` (those of `make test-all`). A kill counts only if the
failing test, run alone, fails with the mutant and passes without it. Any other failure is deselected,
and the suite runs again. Results are written as they come, and a second call resumes.
`--only ID ...` tries these mutants alone, again if they have a result; calls with other mutants may run
beside it, each with a `--work` folder of its own. EMRL_RAY_DATA has to be set, as for the tests.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.mutants.sites import Mutant, candidates
from benchmarks.mutants.suites import SUITES, try_mutant

RESULTS = Path(__file__).parents[1] / "results"
PER_FAMILY, PER_FILE = 2, 2
LONGEST = 60
"""Characters of a changed line that the table shows."""
REDRAWN = {
    "wrong_unit-9b0fae": "malloc ignores a threshold above its maximum: nothing but memory changes"
}
"""Drawn mutants that no user could notice, by id, with the reason."""


def room(file: str) -> str:
    """Return the room of a module: its first folder, or its own name."""
    return file.split("/")[1].removesuffix(".py")


def draw(tree: Path, seed: int) -> list[Mutant]:
    """Return two mutants of each family, at most two a file, from as many rooms as possible."""
    by_family: dict[str, list[Mutant]] = {}
    for mutant in candidates(tree):
        by_family.setdefault(mutant.family, []).append(mutant)
    drawn: list[Mutant] = []
    files: Counter[str] = Counter()
    rooms: Counter[str] = Counter()
    for family in sorted(by_family, key=lambda name: (len(by_family[name]), name)):
        left = sorted(by_family[family])
        random.Random(f"{seed} {family}").shuffle(left)
        for _ in range(PER_FAMILY):
            left = [item for item in left if item.id not in REDRAWN and files[item.file] < PER_FILE]
            # The first of a room that has the fewest so far.
            chosen = min(left, key=lambda item: rooms[room(item.file)])
            left.remove(chosen)
            files[chosen.file] += 1
            rooms[room(chosen.file)] += 1
            drawn.append(chosen)
    return drawn


def run(file: Path, tree: Path, suite: str, work: Path, only: Sequence[str]) -> None:
    """Try the drawn mutants that have no result yet, or `only` some, and write each result as it comes."""
    base = work / f"base-{suite}"
    work.mkdir(parents=True, exist_ok=True)
    if not base.exists():
        ignored = shutil.ignore_patterns(".git", ".venv", "runs", "*_cache")
        shutil.copytree(tree, base, symlinks=True, ignore=ignored)
    for mutant in [Mutant(**fields) for fields in json.loads(file.read_text())["mutants"]]:
        if mutant.id not in only if only else mutant.id in _results(file, suite, tree)[1]:
            continue
        result = try_mutant(mutant, base, suite, work)
        stored, results = _results(
            file, suite, tree
        )  # anew: another call may have written meanwhile
        results[mutant.id] = result
        file.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
        print(mutant.id, result["result"], result.get("test"), result.get("seconds"), flush=True)


def _results(file: Path, suite: str, tree: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return all that is stored, and of that the results of a suite by mutant."""
    stored = json.loads(file.read_text())
    fresh = {"commit": commit(tree), "results": {}}
    return stored, stored.setdefault("suites", {}).setdefault(suite, fresh)["results"]


def table(stored: dict[str, Any]) -> list[str]:
    """Return the results as lines of a Markdown table, one mutant a row and one suite a column."""
    suites = stored.get("suites", {})
    heads = ["mutant", "where", "before → after", *suites]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for mutant in (Mutant(**fields) for fields in stored["mutants"]):
        before, after = (f"`{_short(text)}`" for text in (mutant.before, mutant.after))
        results = [suite["results"].get(mutant.id, {}) for suite in suites.values()]
        where = f"`{mutant.file.removeprefix('emrl_ray/')}`, `{mutant.function}`"
        cells = [mutant.id, where, f"{before} → {after}", *map(_cell, results)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _short(text: str) -> str:
    text = " ".join(text.split()).replace("|", "\\|")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _cell(result: dict[str, Any]) -> str:
    """Return what became of a mutant: its seconds, and the test that failed."""
    if not result:
        return "not run"
    test = f", `{result['test'].split('::')[-1].split('[')[0]}`" if result.get("test") else ""
    return f"{result['result']}, {result['seconds']:.0f} s{test}"


def commit(tree: Path) -> str:
    """Return the commit of a tree."""
    words = ["git", "-C", str(tree), "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Draw the mutants, or try them on the tests."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("draw", "run", "table"))
    parser.add_argument("--tree", type=Path, default=Path(__file__).parents[2], help="a checkout")
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--suite", choices=SUITES, default="all")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "mutants")
    parser.add_argument("--only", nargs="*", default=(), help="ids of mutants")
    words = parser.parse_args()
    tree, work, file = (
        words.tree.resolve(),
        words.work.resolve(),
        RESULTS / f"mutants-{words.seed}.json",
    )
    if words.action == "run":
        run(file, tree, words.suite, work, words.only)
    elif words.action == "table":
        print("\n".join(table(json.loads(file.read_text()))))
    else:
        drawn = {"seed": words.seed, "commit": commit(tree), "redrawn": REDRAWN}
        drawn |= {"mutants": [mutant._asdict() for mutant in draw(tree, words.seed)]}
        file.write_text(json.dumps(drawn, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
