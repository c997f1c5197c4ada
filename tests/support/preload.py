"""Libraries of C that change what the system does in the processes that they are loaded into."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).parent / "native"


def preloaded(name: str, folder: Path) -> dict[str, str]:
    """Compile `name`.c into a folder; return the variable that loads it. Skips without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    made = folder / f"{name}.so"
    source = NATIVE / f"{name}.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(made)}
