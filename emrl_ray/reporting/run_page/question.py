"""What was asked, how many candidates passed each filter, and on what the run was made."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from emrl_ray.crystals.accounting import duration
from emrl_ray.crystals.storage import locate
from emrl_ray.reporting.run_page.markup import bars, facts, paragraph, plain, section, table, text
from emrl_ray.reporting.run_page.run_folder import Run, Sought


def question_section(run: Run) -> str:
    """Return the question in a sentence, and what belongs to it as a list."""
    return section(
        "question",
        "The question",
        paragraph(question(run), "question"),
        paragraph(_answer(run)),
        facts(_facts(run)),
        paragraph(run.model.problem, "note"),
    )


def question(run: Run) -> str:
    """Return what the run was asked."""
    library = locate(str(run.config["crystals"])).name if run.config.get("crystals") else ""
    rows = (run.manifest.get("counts") or {}).get("rows_in")
    which = f"Which of the {rows:,} crystals" if rows else "Which crystals"
    return f"{which}{f' of {library}' if library else ''} have {_sought(run)}?"


def _answer(run: Run) -> str:
    """Return how many candidates are on the shortlist and which is the first, in a sentence."""
    rows = run.shortlist
    if not rows.num_rows:
        return ""
    first = rows.slice(0, 1).to_pylist()[0]
    name = f"{first['formula']} ({first['id']})" if first.get("formula") else first["id"]
    are = "candidate is" if rows.num_rows == 1 else "candidates are"
    return f"{rows.num_rows:,} {are} on the shortlist; the first is {name}."


def _sought(run: Run) -> str:
    if run.window is None:
        largest = "largest" if run.config.get("maximize") else "smallest"
        return f"the {largest} {run.target}"
    wanted = [Sought(run.target, run.unit, run.window), *run.further]
    return " and ".join(f"a {sought.target} {_within(sought)}" for sought in wanted)


def _within(sought: Sought) -> str:
    low, high = sought.window
    unit = f" {sought.unit}" if sought.unit else ""
    if math.isinf(high):
        return f"of at least {low:g}{unit}"
    if math.isinf(low):
        return f"of at most {high:g}{unit}"
    return f"between {low:g} and {high:g}{unit}"


def _facts(run: Run) -> Iterator[tuple[str, object]]:
    config, card = run.config, run.model.card
    yield "Target", run.target_label if card else None
    yield "Level of theory", card.theory or "not recorded" if card else None
    yield "Ranked by", _ranked_by(run)
    yield "Only elements", " ".join(config.get("only_elements") or [])
    yield "Without elements", " ".join(config.get("exclude_elements") or [])
    yield "Only in the domain", "yes" if config.get("in_domain") else None
    yield "Without known crystals", "yes" if config.get("not_known") else None
    yield "Most of one chemical system", config.get("per_system")
    yield "Far apart in embedding space", "yes" if config.get("diverse") else None
    yield "Atoms in a cell", f"at most {config['max_atoms']:,}" if "max_atoms" in config else None
    yield "Library", config.get("crystals")
    yield "Model", config.get("model")
    if card:
        yield "Trained on", f"{card.rows['train']:,} crystals" if "train" in card.rows else None
        yield "Regressor", config.get("head") or card.best_head
        yield "Seed of the model", card.hyperparameters.get("seed")
    yield "Seed of the run", config.get("seed")
    if run.finished:
        yield "Finished", run.finished.strftime("%Y-%m-%d %H:%M %Z").strip()


def _ranked_by(run: Run) -> str:
    if run.window is None:
        return "largest prediction" if run.config.get("maximize") else "smallest prediction"
    return "probability of a value within " + ("all windows" if run.further else "the window")


def funnel_section(run: Run) -> str:
    """Return how many rows were left after each filter."""
    steps = funnel(run.manifest)
    if not steps:
        return section(
            "funnel",
            "From the library to the shortlist",
            paragraph("This run does not tell how many candidates passed its filters.", "note"),
        )
    rows = [
        (name, count, f"{before - count:,} fewer" if count < before else "")
        for (name, count), before in zip(steps, [steps[0][1], *(n for _, n in steps)], strict=False)
    ]
    head = ("Step", "Candidates", "Change")
    whole = max(count for _, count in steps)
    return section(
        "funnel",
        "From the library to the shortlist",
        bars("Candidates left after each step; shares are of the first step.", head, rows, whole),
    )


def funnel(manifest: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return the steps of a manifest and the rows left after each; an older one's are its counts."""
    if steps := manifest.get("funnel"):
        return [(str(step["step"]), int(step["rows"])) for step in steps]
    counts = manifest.get("counts") or {}
    found = []
    if "rows_in" in counts:
        found.append(("read from the library", counts["rows_in"]))
    if "predicted" in counts:
        found.append(("predicted", counts["predicted"]))
        if excluded := counts.get("excluded_by_elements"):
            found.append(("with allowed elements", counts["predicted"] - excluded))
    if "ranked" in counts:
        found.append(("ranked", counts["ranked"]))
    if "shortlisted" in counts:
        found.append(("on the shortlist", counts["shortlisted"]))
    return found


def machine_section(run: Run) -> str:
    """Return versions, seconds a stage, machine, and cost if it is known."""
    manifest = run.manifest
    seconds = manifest.get("seconds") or {}
    rows = [(name, f"{taken:,.1f}") for name, taken in seconds.items()]
    total = facts([("Time", duration(sum(seconds.values())) if seconds else None), *_costs(run)])
    versions = (manifest.get("versions") or {}).items()
    parts = [total]
    if rows:
        parts.append(table("Seconds a stage.", ("Stage", "Seconds"), rows))
    if versions:
        parts.append(table("Versions.", ("Package", "Version"), versions))
    if not any(parts):
        parts = [paragraph("This run does not tell its versions, times or machine.", "note")]
    return section("machine", "Versions, times and machine", _beside(parts), _options(run))


def _costs(run: Run) -> Iterator[tuple[str, object]]:
    manifest = run.manifest
    rate = manifest.get("throughput") or {}
    if "crystals_per_second" in rate:
        workers = f" on {rate['workers']} workers" if "workers" in rate else ""
        yield "Throughput", f"{rate['crystals_per_second']:,.0f} crystals/s{workers}"
    memory = manifest.get("peak_memory_bytes") or {}
    if memory:
        sizes = (f"{_words(name)} {size / 2**20:,.0f} MiB" for name, size in memory.items())
        yield "Peak memory", ", ".join(sizes)
    for name, value in (manifest.get("machine") or {}).items():
        words = _words(name)
        yield words[:1].upper() + words[1:], plain(value)
    if manifest.get("cost") is not None:
        yield "Cost", plain(manifest["cost"])
    for name, value in (manifest.get("fingerprints") or {}).items():
        yield f"Fingerprint of the {'library' if name == 'crystals' else name}", value


def _words(name: str) -> str:
    return "CPUs" if name == "cpus" else name.replace("_", " ")


def _beside(parts: list[str]) -> str:
    return f'<div class="beside">{"".join(parts)}</div>'


def _options(run: Run) -> str:
    """Return all options of the run, folded away."""
    if not run.config:
        return ""
    options = json.dumps(dict(run.config), indent=2, default=str)
    return f"<details><summary>All options of the run</summary><pre>{text(options)}</pre></details>"


def is_formation_energy(target: str) -> bool:
    """Return whether a target, by its name, is an energy of formation."""
    return re.search(r"formation|e_?form", target, re.IGNORECASE) is not None
