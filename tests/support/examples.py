"""How many examples hypothesis tries."""

from __future__ import annotations

import os

from hypothesis import settings

TIMES = int(os.environ.get("EMRL_RAY_EXAMPLES", "1"))
"""Factor on all numbers of examples; `make test-slow` raises it."""


def examples(count: int) -> settings:
    """Return the settings of a test that tries `count` examples, however long one takes."""
    return settings(max_examples=count * TIMES, deadline=None)
