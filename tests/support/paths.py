"""Folders of the repository that tests read from."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The repository."""
SUPPORT = ROOT / "tests" / "support"
STORED = ROOT / "tests" / "data"
"""Models of old formats and what they predict."""
