"""The command lines that benchmarks share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

from emrl_ray.io.console import show_log

RESULTS = Path(__file__).parents[1] / "results"


def read_arguments(description: str | None) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Return the words of the command line, and the training options of the YAML file they name."""
    parser = _parser(description)
    parser.add_argument("config", help="YAML of training options")
    parser.add_argument("crystals", help="crystals table")
    parser.add_argument("--name", required=True, help="folder of the results")
    parser.add_argument("--models", default="runs", help="folder for the models, if any are kept")
    add_seeds(parser)
    words = parser.parse_args()
    return words, yaml.safe_load(Path(words.config).read_text())


def data_parser(description: str | None, **places: str) -> argparse.ArgumentParser:
    """Return a command line of `--data` and of further folders: their options, and what they are."""
    parser = _parser(description)
    for name, words in {"data": "folder of the data sets", **places}.items():
        parser.add_argument(f"--{name}", required=True, metavar="FOLDER", help=words)
    return parser


def add_seeds(parser: argparse.ArgumentParser) -> None:
    """Add `--seeds`, three of them unless told."""
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])


def _parser(description: str | None) -> argparse.ArgumentParser:
    """Return a command line; what the commands log is shown from then on, as trainings take long."""
    show_log()
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
