"""On what a run was made, and how long it took."""

from __future__ import annotations

import json
from collections.abc import Iterator

from emrl_ray.crystals.counts import duration
from emrl_ray.reports.markup import counted, facts, paragraph, plain, section, table, text
from emrl_ray.reports.screening.run_folder import ScreeningRun


def machine_section(run: ScreeningRun) -> str:
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


def _costs(run: ScreeningRun) -> Iterator[tuple[str, object]]:
    manifest = run.manifest
    rate = manifest.get("throughput") or {}
    if "crystals_per_second" in rate:
        workers = f" on {counted(rate['workers'], 'worker')}" if "workers" in rate else ""
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
        yield f"Fingerprint of the {_input(name)}", value


def _input(name: str) -> str:
    """Return what an input of a run is called: the library, the model, the model 2."""
    number = name.removeprefix("model")
    return "library" if name == "crystals" else f"model {number}" if number.isdigit() else name


def _words(name: str) -> str:
    return "CPUs" if name == "cpus" else name.replace("_", " ")


def _beside(parts: list[str]) -> str:
    return f'<div class="beside">{"".join(parts)}</div>'


def _options(run: ScreeningRun) -> str:
    """Return all options of the run, folded away."""
    if not run.config:
        return ""
    options = json.dumps(dict(run.config), indent=2, default=str)
    return f"<details><summary>All options of the run</summary><pre>{text(options)}</pre></details>"
