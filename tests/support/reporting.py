"""What a session of tests prints beside pytest's own lines."""

from __future__ import annotations

from collections import Counter

import pytest

LONG = 1.0
"""Seconds from which on a test is named with its duration when it ends."""


class Durations:
    """Prints each test that takes long, set-up included, as soon as it has ended."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._seconds: Counter[str] = Counter()

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add a part of a test; print the sum after its last part."""
        self._seconds[report.nodeid] += report.duration
        if report.when != "teardown":
            return
        seconds = self._seconds.pop(report.nodeid)
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if seconds >= LONG and reporter is not None:
            reporter.ensure_newline()
            if reporter._tw.width_of_current_line:  # dots alone
                reporter.line("")
            reporter.write_line(f"{seconds:7.1f} s  {report.nodeid}")


def report_skips(reporter: pytest.TerminalReporter) -> None:
    """Print how many tests were skipped for which reason."""
    reasons = Counter(_reason(report) for report in reporter.stats.get("skipped", []))
    if not reasons:
        return
    reporter.write_sep("-", "skipped tests by reason")
    for reason, count in reasons.most_common():
        reporter.write_line(f"{count:4}  {reason}")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
