"""The manifest of a screen: what was asked and found, and what it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from emrl_ray.commands.engine import Engine
from emrl_ray.commands.screen.plan import ScreenPlan
from emrl_ray.config import ScreenConfig
from emrl_ray.config.base import window_text
from emrl_ray.crystals.counts import RowCounts, duration, summary_line
from emrl_ray.io.console import log
from emrl_ray.io.runtime import hardware_info, package_versions
from emrl_ray.model import Card
from emrl_ray.runs.usage import ResourceUsage
from emrl_ray.screening.duplicates import MAX_NEIGHBORS
from emrl_ray.screening.filters import DOMAIN, FILTERS, KNOWN
from emrl_ray.screening.objectives import Objective
from emrl_ray.screening.shortlist import DUPLICATES, Shortlist

MANIFEST_FORMAT = 1


def describe(
    config: ScreenConfig,
    plan: ScreenPlan,
    engine: Engine,
    usage: ResourceUsage,
    counts: RowCounts,
    found: Shortlist,
) -> dict[str, Any]:
    """Return what a run was asked, what it found, and what that took."""
    tally, listed = found.tally, found.table.num_rows
    return {
        "format": MANIFEST_FORMAT,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": asdict(config),
        "engine": engine,
        "objectives": _described(plan.objectives, plan.cards),
        "filters": plan.filters.asked_for,
        "fingerprints": plan.directory.inputs,
        "counts": {
            "slices": len(plan.partitions),
            "slices_resumed": len(plan.partitions) - usage.partitions,
            "rows_in": counts.rows_in,
            "predicted": counts.rows_out,
            "rejects": dict(counts.rejects.most_common()),
            **{f"excluded_by_{name}": tally.excluded[name] for name in FILTERS},
            "without_a_number": tally.unranked,
            "ranked": tally.ranked,
            **{f"ranked_{name}": tally.let_in[name] for name in (DOMAIN, KNOWN)},
            "examined": found.examined,
            "repeated": found.repeated,
            "shortlisted": listed,
            "likely": found.likely,
            "duplicates": sum(len(ids) for ids in found.table.column(DUPLICATES).to_pylist()),
            "duplicates_cut": found.duplicates_cut,
        },
        "cut_short": found.cut_short,
        "funnel": _funnel(counts, found, plan.filters.asked_for),
        "seconds": usage.seconds,
        "throughput": usage.throughput("predict"),
        "peak_memory_bytes": usage.peak_memory_bytes(),
        "versions": package_versions(),
        "machine": hardware_info(),
    }


def _described(objectives: Sequence[Objective], cards: Sequence[Card]) -> list[dict[str, Any]]:
    """Return what is asked of which target, for the manifest; a window as LOW:HIGH."""
    return [
        {
            "model": objective.model,
            "target": card.target,
            "unit": card.unit,
            "window": window_text(objective.window),
        }
        for objective, card in zip(objectives, cards, strict=True)
    ]


def _funnel(counts: RowCounts, found: Shortlist, filters: Sequence[str]) -> list[dict[str, Any]]:
    """Return what was left after each step, from the library to the shortlist."""
    left, steps = (
        counts.rows_out,
        [("candidates read", counts.rows_in), ("predicted", counts.rows_out)],
    )
    for name in filters:
        left -= found.tally.excluded[name]
        steps.append((FILTERS[name].passed, left))
    steps.append(("on the shortlist", found.table.num_rows))
    return [{"step": step, "rows": rows} for step, rows in steps]


def summarize(manifest: dict[str, Any], counts: RowCounts, out: str) -> None:
    """Print the last lines of a screen."""
    found, rate = manifest["counts"], manifest["throughput"]
    memory = {name: size / 2**20 for name, size in manifest["peak_memory_bytes"].items()}
    log(summary_line("screen", counts))
    kept_out = [
        f"{found[f'excluded_by_{name}']:,} {FILTERS[name].kept_out}" for name in manifest["filters"]
    ]
    ranked, listed = f"{found['ranked']:,} ranked", f"{found['shortlisted']:,} on the shortlist"
    log(f"screen: {', '.join([ranked, *kept_out, listed])}")
    for line in [*_of_ranked(found), *_of_shortlist(found, manifest)]:
        log(f"screen: {line}")
    log(
        f"screen: {duration(sum(manifest['seconds'].values()))}, "
        f"{rate['crystals_per_second']:,.0f} crystals/s on {rate['workers']} workers, peak memory "
        f"{memory['driver']:,.0f} MiB (driver), {memory['largest_worker']:,.0f} MiB (worker)"
    )
    log(f"screen: {out}/shortlist.csv")
    log(f"screen: {out}/report.html")


def _of_ranked(found: dict[str, Any]) -> list[str]:
    """Return what filters that were not asked for would say of the ranked rows, in a line."""
    counted = {
        FILTERS[name]: count for name in (DOMAIN, KNOWN) if (count := found[f"ranked_{name}"])
    }
    if not counted:
        return []
    told = " and ".join(f"{count:,} {words.kept_out}" for words, count in counted.items())
    options = ", ".join(words.option for words in counted)
    leave = "leave" if len(counted) > 1 else "leaves"
    return [f"of these, {told}; {options} {leave} them out"]


def _of_shortlist(found: dict[str, Any], manifest: dict[str, Any]) -> list[str]:
    """Return what is to be known of the shortlist, in lines."""
    if not found["shortlisted"]:
        why = "no candidate passes the filters" if manifest["filters"] else "none could be ranked"
        return [f"the shortlist is empty: {why}"]
    lines, windows = [], "all windows" if len(manifest["objectives"]) > 1 else "the window"
    if found["likely"] is not None:
        lines.append(
            f"{found['likely']:,} of the {found['shortlisted']:,} on the shortlist are likelier than "
            f"not to be in {windows}"
        )
    lines.append(
        f"of the best {found['examined']:,}, which were looked at, {found['repeated']:,} duplicate "
        f"another; the duplicates of the shortlist among all ranked are {found['duplicates']:,}"
    )
    if found["duplicates_cut"]:
        lines.append(
            f"{found['duplicates_cut']:,} of the shortlist have more than {MAX_NEIGHBORS} candidates for a "
            "duplicate, of which the first were compared"
        )
    if manifest["cut_short"]:
        lines.append(
            f"the shortlist has fewer than --top {manifest['config']['top']:,}: candidates farther "
            "down were not looked at"
        )
    return lines
