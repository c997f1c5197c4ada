"""The tables of a benchmark without the package that draws."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.benchmark_results import three_methods
from tests.support.paths import ROOT


@pytest.fixture
def results(tmp_path):
    return three_methods(tmp_path / "results")


def test_without_matplotlib_the_line_that_installs_it_is_given(results, tmp_path):
    code = (
        "import sys\n"
        "sys.modules['matplotlib'] = None\n"
        "from emrl_ray.reports.benchmark.tables import write_tables\n"
        f"write_tables({str(results)!r}, {str(tmp_path)!r})\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    last = run.stderr.strip().splitlines()[-1]
    assert last.endswith(
        "MissingPackageError: matplotlib is not installed: pip install 'emrl-ray[report]'"
    )
    assert (tmp_path / "benchmark.md").exists()
    assert not (tmp_path / "benchmark.html").exists()
