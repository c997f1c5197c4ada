"""Write the tables of docs/faults.md.

python -m benchmarks.faults.page

Reads `benchmarks/results/faults.jsonl`, which `make chaos` writes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.common.arguments import RESULTS
from benchmarks.common.pages import DOCS, markdown_table, put_between

PAGE = DOCS / "faults.md"


def main() -> None:
    """Write both tables."""
    lines = (RESULTS / "faults.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    page = PAGE.read_text()
    page = put_between(page, "faults", faults([each for each in found if "fault" in each]))
    page = put_between(page, "chaos", chaos([each for each in found if "chaos" in each]))
    PAGE.write_text(page)


def faults(found: Sequence[dict[str, Any]]) -> str:
    """Return the table of faults, those of screens first."""
    head = ["fault", "goes on after, s", "done after, s", "test"]
    rows = [
        [each["fault"], f"{each['goes_on']:.1f}", f"{each['done']:.1f}", f"`{_name(each['test'])}`"]
        for each in sorted(found, key=lambda each: "train" in each["test"])
    ]
    return markdown_table(head, rows)


def _name(test: str) -> str:
    return test.rpartition("::")[2]


def chaos(found: Sequence[dict[str, Any]]) -> str:
    """Return what became of the runs whose processes were killed."""
    victims = Counter(victim for each in found for _, victim, _ in each["kills"])
    killed = ", ".join(f"{count} {victim}s" for victim, count in sorted(victims.items()))
    rows = [
        [
            str(each["chaos"]),
            ", ".join(f"{victim} at {seconds:.0f} s" for seconds, victim, _ in each["kills"]),
            str(each["calls"]),
            f"{each['seconds']:.0f}",
        ]
        for each in found
    ]
    told = (
        f"{len(found)} runs, {sum(victims.values())} kills ({killed}), all files those of the undisturbed run; "
        f"{median(each['seconds'] for each in found):.0f} s in the median."
    )
    return f"{told}\n\n{markdown_table(['seed', 'killed', 'calls', 's'], rows)}"


if __name__ == "__main__":
    main()
