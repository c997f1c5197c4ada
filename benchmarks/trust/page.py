"""Writes the tables and figures of docs/trust.md from the results of this folder.

    python -m benchmarks.trust.page

Only what stands between the page's markers changes; a result that is missing leaves what is there.
"""

from __future__ import annotations

import json
import statistics
from typing import Any

from benchmarks.common.arguments import RESULTS
from benchmarks.common.pages import DOCS, markdown_table, put_between
from benchmarks.trust.figures import draw_rejection, draw_shortlist

PAGE = DOCS / "trust.md"


def main() -> None:
    """Write the page and its figures."""
    page = PAGE.read_text()
    texts = {
        "coverage": coverage_text,
        "aliens": aliens_text,
        "domain": errors_text,
        "shortlist": shortlist_text,
        "cost": cost_text,
    }
    for name, text in texts.items():
        file = RESULTS / "trust" / ("domain.json" if name == "aliens" else f"{name}.json")
        if file.exists():
            page = put_between(page, name, text(json.loads(file.read_text())))
    PAGE.write_text(page)
    for name, draw in (("domain", draw_rejection), ("shortlist", draw_shortlist)):
        file = RESULTS / "trust" / f"{name}.json"
        if file.exists():
            draw(json.loads(file.read_text()), DOCS / "images" / f"trust-{name}.svg")


def coverage_text(found: dict[str, Any]) -> str:
    """Return coverage, width and score of both forms of interval, a row for each model."""
    rows = []
    for name, model in _models(found):
        chosen, constant = model["chosen"], model["constant"]
        rows.append(
            [
                name.replace("-", " ").replace("MPS ", "MPS-"),
                f"{chosen['coverage']:.1%}",
                f"{constant['coverage']:.1%}",
                "{mean:.1%} ± {sd:.1%}".format(**model["divided_anew"]),
                *(
                    f"{chosen[key]:.3f} / {constant[key]:.3f}"
                    for key in ("mean_width", "interval_score")
                ),
                "scaled" if model["slope"] else "constant",
            ]
        )
    head = ["model, seed", "coverage", "constant form's", "divided anew"]
    return markdown_table([*head, "mean width", "interval score", "chosen"], rows)


def aliens_text(found: dict[str, Any]) -> str:
    """Return the share flagged of each kind of crystal, a column for each seed."""
    seeds = {name: value for name, value in found.items() if name.startswith("aliens-")}
    kinds = next(iter(seeds.values()))
    head = [
        "crystals, HOIP's model",
        *(f"seed {name[7:]}" for name in seeds),
        "why (codes, first seed)",
    ]
    return markdown_table(
        head,
        [
            [
                kind,
                *(f"{value[kind]['flagged']:.1%}" for value in seeds.values()),
                ", ".join(f"{code} {count}" for code, count in kinds[kind]["reasons"].items()),
            ]
            for kind in kinds
        ],
    )


def errors_text(found: dict[str, Any]) -> str:
    """Return the errors inside and outside of the domain, a row for each seed."""
    return markdown_table(
        [
            "MPS-FE's model on MPL, seed",
            "crystals",
            "outside",
            "MAE inside",
            "MAE outside",
            "ratio",
        ],
        [
            [
                name[7:],
                f"{value['rows']:,}",
                f"{value['outside']:.1%}",
                f"{value['mae_inside']:.3f}",
                f"{value['mae_outside']:.3f}",
                f"{value['ratio']:.2f}",
            ]
            for name, value in found.items()
            if name.startswith("errors-")
        ],
    )


def shortlist_text(found: dict[str, Any]) -> str:
    """Return the precision of each ranking, the mean over seeds and its range."""
    seeds = [value for name, value in _models(found)]
    tops = list(seeds[0]["probability"])
    ways = [name for name, value in seeds[0].items() if isinstance(value, dict) and name != "rows"]
    rows = [
        [way, *(_mean_range([seed[way][top] for seed in seeds]) for top in tops)] for way in ways
    ]
    rows.append(["random", *[_mean_range([seed["random"] for seed in seeds])] * len(tops)])
    return markdown_table(["ranking", *(f"top {top}" for top in tops)], rows)


def cost_text(found: dict[str, Any]) -> str:
    """Return the duplicates found and what trust costs."""
    same, compute, screen = (found[name] for name in ("duplicates", "seconds", "screen"))
    seconds = {name: statistics.median(values) for name, values in screen["seconds"].items()}
    return markdown_table(
        ["what", "figure"],
        [
            [
                "HOIP's crystals with another cell, order and id: found as themselves",
                f"{same['found_as_themselves']:,} of {same['crystals']:,}",
            ],
            ["taken for each other among HOIP's own", str(same["false_among_their_own"])],
            [
                f"`screen` of {compute['rows']:,} candidates, bare / with everything on, s (medians)",
                f"{seconds['bare']:.1f} / {seconds['with trust']:.1f}",
            ],
            ["ratio of these", f"{screen['ratio']:.2f}"],
            ["ratio of the computing alone (one core, `Model.predict`)", f"{compute['ratio']:.2f}"],
            ["`report.html`", f"{screen['report_bytes'] / 1e6:.2f} MB"],
        ],
    )


def _models(found: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in found.items() if name[-1].isdigit()]


def _mean_range(values: list[float]) -> str:
    return f"{statistics.mean(values):.0%} ({min(values):.0%} to {max(values):.0%})"


if __name__ == "__main__":
    main()
