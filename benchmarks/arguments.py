"""The command line that the benchmarks of training share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

RESULTS = Path(__file__).parent / "results"


def read_arguments(description: str | None) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Return the words of the command line, and the training options of the YAML file they name."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="YAML of training options")
    parser.add_argument("crystals", help="crystals table")
    parser.add_argument("--name", required=True, help="folder of the results")
    parser.add_argument("--models", default="runs", help="folder for the models, if any are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    words = parser.parse_args()
    return words, yaml.safe_load(Path(words.config).read_text())
