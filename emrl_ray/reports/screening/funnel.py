"""How many candidates were left after each step, from the library to the shortlist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from emrl_ray.reports.markup import bars, counted, paragraph, section
from emrl_ray.reports.screening.run_folder import ScreeningRun

SHORTLISTED = "on the shortlist"


class Step(NamedTuple):
    """A step of the way to the shortlist."""

    name: str
    rows: int
    """Left after it."""
    why: str = ""
    """What became of the others, in words."""


def funnel_section(run: ScreeningRun) -> str:
    """Return how many rows were left after each filter and choice."""
    title = "From the library to the shortlist"
    steps = funnel(run.manifest)
    if not steps:
        words = "This run does not tell how many candidates passed its filters."
        return section("funnel", title, paragraph(words, "note"))
    rows = [
        (step.name, step.rows, _change(before.rows - step.rows, step.why))
        for step, before in zip(steps, [steps[0], *steps], strict=False)
    ]
    head = ("Step", "Candidates", "Change")
    return section(
        "funnel",
        title,
        bars(
            "Candidates left after each step; shares are of the first step.",
            head,
            rows,
            max(step.rows for step in steps),
        ),
        paragraph(cut_short(run.manifest)),
    )


def _change(fewer: int, why: str) -> str:
    if fewer <= 0:
        return ""
    return f"{fewer:,} fewer: {why}" if why else f"{fewer:,} fewer"


def cut_short(manifest: Mapping[str, Any]) -> str:
    """Return that candidates farther down were not looked at though rows were wanted, in a sentence."""
    if not manifest.get("cut_short"):
        return ""
    counts = manifest.get("counts") or {}
    top = (manifest.get("config") or {}).get("top")
    fewer = f"fewer than the {top:,} rows" if top else "fewer rows than were"
    looked = f"only the best {counts['examined']:,}" if "examined" in counts else "only the best"
    return f"The shortlist has {fewer} asked for: {looked} candidates were looked at, none farther down."


def funnel(manifest: Mapping[str, Any]) -> list[Step]:
    """Return the steps of a manifest; an older one's are its counts."""
    steps = [Step(str(step["step"]), int(step["rows"])) for step in manifest.get("funnel") or []]
    counts = manifest.get("counts") or {}
    steps = steps or list(_counted(counts))
    if (
        steps
        and steps[-1].name == SHORTLISTED
        and {"ranked", "examined", "repeated"} <= set(counts)
    ):
        steps[-1:] = _chosen(counts, manifest.get("config") or {}, steps[-1].rows)
    return steps


def _counted(counts: Mapping[str, Any]) -> Iterator[Step]:
    if "rows_in" in counts:
        yield Step("read from the library", counts["rows_in"])
    if "predicted" in counts:
        yield Step("predicted", counts["predicted"])
        if excluded := counts.get("excluded_by_elements"):
            yield Step("with allowed elements", counts["predicted"] - excluded)
    if "ranked" in counts:
        yield Step("ranked", counts["ranked"])
    if "shortlisted" in counts:
        yield Step(SHORTLISTED, counts["shortlisted"])


def _chosen(counts: Mapping[str, Any], config: Mapping[str, Any], listed: int) -> Iterator[Step]:
    """Yield the steps from the last filter to the shortlist, those that left out any."""
    ranked, examined = counts["ranked"], counts["examined"]
    different = examined - counts["repeated"]
    if without := counts.get("without_a_number"):
        yield Step("with a number to rank by", ranked, f"{counted(without, 'row')} had none")
    if examined < ranked:
        yield Step("looked at, best first", examined, "ranked below all that were looked at")
    if different < examined:
        yield Step("each crystal once", different, "the same crystal as another")
    yield Step(SHORTLISTED, listed, _left_out(config, listed))


def _left_out(config: Mapping[str, Any], listed: int) -> str:
    """Return why different crystals that were looked at are not on the shortlist."""
    full, top = config.get("per_system"), config.get("top")
    reasons = [f"their chemical system had {full:,} already"] if full else []
    if config.get("diverse"):
        reasons.append("not among those far apart in embedding space (diverse)")
    elif top and listed >= top:
        reasons.append(f"beyond the {top:,} of --top")
    return " or ".join(reasons)
