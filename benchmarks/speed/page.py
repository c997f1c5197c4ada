"""Writes the tables and figures of docs/performance.md from the results of `speed` and `growth`.

    python -m benchmarks.speed.page

Only what stands between the page's markers changes.
"""

from __future__ import annotations

import json
from typing import Any

from benchmarks.common.arguments import RESULTS
from benchmarks.common.pages import DOCS, markdown_table, put_between

PAGE = DOCS / "performance.md"
SAMPLES = {"hoip": "HOIP", "mpl": "MPL", "candidates": "candidates"}
RATIOS = {
    "parquet_vs_published": "Parquet → prediction, against the published way from CIF",
    "cif_vs_published": "CIF → prediction, against the same",
    "cif_verb_vs_published": "CIF → prediction by the verb `predict`, against the same",
    "embed_vs_dense": "arrays → embedding with the pair search, against the dense form with pairs given",
    "step_shared_vs_dense": "training step, shared statistics, against the dense three-pass step",
    "step_exact_vs_dense": "training step, exact three passes, against the same",
}
MIB = 2**20


def main() -> None:
    """Write the page and its figures."""
    from benchmarks.speed.figures import (  # needs matplotlib, the text does not
        draw_growth,
        draw_speed,
    )

    speed, growth = RESULTS / "speed.json", RESULTS / "growth.json"
    page = PAGE.read_text()
    for name, file, text, draw in (
        ("speed", speed, speed_text, draw_speed),
        ("growth", growth, growth_text, draw_growth),
    ):
        content = json.loads(file.read_text()) if file.exists() else {}
        if not content.get("complete"):
            print(f"{file}: no complete run, so the page keeps what it has")
        else:
            page = put_between(page, name, text(content))
            draw(content, DOCS / "images" / f"{name}.svg")
    PAGE.write_text(page)


def speed_text(content: dict[str, Any]) -> str:
    """Return what `run.py` measured, as Markdown."""
    parts = [_origin(content), _ratio_table(content), _path_table(content)]
    parts += [f"{name}: {note}." for name, note in content.get("peers", {}).items()]
    parts.append(_stage_table(content))
    if "start_up" in content:
        parts.append(_start_up(content["start_up"]))
    if "accuracy" in content:
        parts.append(_accuracy(content["accuracy"]))
    return "\n\n".join(parts)


def growth_text(content: dict[str, Any]) -> str:
    """Return what `growth` measured, as Markdown."""
    parts = [_origin(content)]
    if "against_crystals" in content:
        parts.append(_screens(content["against_crystals"]))
    if "against_atoms" in content:
        atoms = content["against_atoms"]
        parts.append(
            "The time of `Model.embed` a crystal grows as the number of atoms to the power "
            f"{atoms['exponent_of_atoms']:.2f}, of pairs to the power "
            f"{atoms['exponent_of_pairs']:.2f} (8 atoms and more)."
        )
    if "against_cutoff" in content:
        parts.append(_cutoffs(content["against_cutoff"]))
    if "against_references" in content:
        parts.append(_references(content["against_references"]))
    return "\n\n".join(parts)


def _origin(content: dict[str, Any]) -> str:
    machine, versions = content["machine"], content["versions"]
    names = [name for name in versions if name != "emrl-ray"]
    lines = [
        f"Machine: {machine['processor']}, {machine['cpus']} cores, {machine['system']}. Versions: "
        + ", ".join(f"{name} {versions[name]}" for name in names)
        + "."
    ]
    lines += ["**A quick run: few rounds.**"] if content["quick"] else []
    return " ".join(lines)


def _ratio_table(content: dict[str, Any]) -> str:
    spread = content["ratio_spread"]
    rows = [
        [RATIOS[name], f"{value:,.0f} ×", "{:,.0f} to {:,.0f}".format(*spread[name])]
        for name, value in content["ratios"].items()
    ]
    return markdown_table(["HOIP, one core", "faster", "rounds"], rows)


def _path_table(content: dict[str, Any]) -> str:
    rows = []
    for label in ("one core", "all cores"):
        for name in content["one core"]["hoip"]["whole path"]:
            if ": " not in name:
                cells = [_cell(content, label, sample, "whole path", name) for sample in SAMPLES]
                rows.append([f"{name}, {label}", *cells])
    return markdown_table(["file → prediction, µs a crystal", *SAMPLES.values()], rows)


def _stage_table(content: dict[str, Any]) -> str:
    stages = [
        (group, name)
        for group, names in content["one core"]["hoip"].items()
        for name in names
        if group != "whole path" or name.startswith("published: ")
    ]
    rows = [
        [
            name,
            *(_cell(content, label, "hoip", group, name) for label in ("one core", "all cores")),
            *(_cell(content, "one core", sample, group, name) for sample in ("mpl", "candidates")),
        ]
        for group, name in stages
    ]
    return markdown_table(
        ["stage, µs a crystal", "HOIP", "HOIP, all cores", "MPL", "candidates"],
        rows,
    )


def _cell(content: dict[str, Any], label: str, sample: str, group: str, name: str) -> str:
    """Return a median with its range, or nothing where it was not measured."""
    found = content.get(label, {}).get(sample, {}).get(group, {}).get(name)
    return "{} ({}-{})".format(*map(_short, _range(found))) if found else ""


def _range(timing: dict[str, Any]) -> tuple[float, float, float]:
    return timing["us_per_crystal"], timing["min"], timing["max"]


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _start_up(seconds: dict[str, Any]) -> str:
    rows = [
        [name, f"{value['seconds'] if isinstance(value, dict) else value:.2f}"]
        for name, value in seconds.items()
    ]
    return markdown_table(["start of a process, all cores", "s"], rows)


def _accuracy(found: dict[str, Any]) -> str:
    differences = found["largest_embedding_difference_by_cutoff"]
    return markdown_table(
        ["cutoff", *(f"{cutoff} Å" for cutoff in differences)],
        [["largest difference of an embedding", *(f"{d:.1e}" for d in differences.values())]],
    )


def _screens(found: dict[str, Any]) -> str:
    rows = []
    for count, screens in found["screens"].items():
        walls = sorted(screen["wall_seconds"] for screen in screens)
        peaks = [screen["peak_memory_bytes"] for screen in screens]
        rows.append(
            [
                f"{int(count):,}",
                f"{walls[len(walls) // 2]:.1f} ({walls[0]:.1f}-{walls[-1]:.1f})",
                *(
                    f"{max(peak[kind] for peak in peaks) / MIB:,.0f}"
                    for kind in ("driver", "largest_worker")
                ),
            ]
        )
    table = markdown_table(["crystals", "s, whole screen", "MiB, driver", "MiB, worker"], rows)
    slopes = [
        f"from {span}: {slope['wall']:.0f} µs (between start and end {slope['work']:.0f})"
        for span, slope in found["us_per_further_crystal"].items()
    ]
    text = f"{table}\n\nEach further crystal, {'; '.join(slopes)}."
    if quotient := found.get("late_slope_over_early"):
        text += f" Late over early: {quotient['wall']:.2f} ({quotient['work']:.2f})."
    return text


def _cutoffs(rows: list[dict[str, Any]]) -> str:
    return markdown_table(
        ["cutoff, HOIP, one core", *(f"{row['cutoff']:g} Å" for row in rows)],
        [
            ["pairs a crystal", *(f"{row['mean_pairs']:,.0f}" for row in rows)],
            ["embedding, µs a crystal", *(_short(row["us_per_crystal"]) for row in rows)],
        ],
    )


def _references(rows: list[dict[str, Any]]) -> str:
    ways = [name for name in rows[0] if name != "references"]
    return markdown_table(
        ["known crystals, µs a query, one core", *(f"{row['references']:,}" for row in rows)],
        [[way, *(_short(row[way]["us_per_crystal"]) for row in rows)] for way in ways],
    )


if __name__ == "__main__":
    main()
