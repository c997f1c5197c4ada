"""The night's work, as a job: read what came in, screen it, and exit by the outcome.

`ray job submit ... -- python jobs/nightly.py --config jobs/nightly.yaml`. The file has a section
`ingest` and a section `screen`, each with the options of its verb; `{night}` in them is the date.
A job that was cut short goes on when it is submitted again for the same night.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Mapping
from typing import Any

from emrl_ray.cli import VERBS, call, guard
from emrl_ray.config import ConfigError
from emrl_ray.options import parse, read_yaml

STEPS = ("ingest", "screen")


def nightly(file: str, night: str) -> Any:
    """Run the steps that `file` configures, in order, and return the outcome of the last.

    All options are checked before the first step begins. Raises ConfigError, in one line, for a
    section that is missing and for options that their verb refuses.
    """
    sections = read_yaml(file)
    if set(sections) != set(STEPS) or not all(isinstance(sections[step], dict) for step in STEPS):
        raise ConfigError(f"--config {file}: must have the sections {' and '.join(STEPS)}")
    plans: list[Any] = [
        parse(VERBS[step].config, [], named_after(night, sections[step]), name=step)
        for step in STEPS
    ]
    outcome = None
    for step, plan in zip(STEPS, plans, strict=True):
        print(f"nightly {night}: {step}", flush=True)
        outcome = call(step, plan)
        if not getattr(outcome, "passed", True):
            break
    return outcome


def named_after(night: str, section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the section with `{night}` filled in, in texts and lists of texts."""

    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [filled(entry) for entry in value]
        return value.replace("{night}", night) if isinstance(value, str) else value

    return {key: filled(value) for key, value in section.items()}


def main() -> int:
    """Run the job and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--config", required=True, help="YAML file with both sections")
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    parser.add_argument("--night", default=today, help="what {night} stands for (default: today)")
    options = parser.parse_args()
    return guard("nightly", lambda: nightly(options.config, options.night))


if __name__ == "__main__":
    sys.exit(main())
