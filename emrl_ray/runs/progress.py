"""What a long job says while it runs."""

from __future__ import annotations

import time

from emrl_ray.crystals.counts import RowCounts, duration
from emrl_ray.io.console import log

SECONDS_BETWEEN_LINES = 2.0


class Progress:
    """Prints lines such as ``screen: 9/27 partitions, 36,864 crystals, 3,410 crystals/s, 22 s left``.

    It is called as `local_runner.complete` calls its `progress`: first with what earlier calls did.
    Rate and time left are those since the first partition was done, so without the start of workers.
    """

    def __init__(self, verb: str, unit: str = "crystals") -> None:
        self.verb = verb
        self.unit = unit
        self.calls = 0
        self.base = (0, 0)
        self.began = self.printed = time.monotonic()

    def __call__(self, finished: int, planned: int, counts: RowCounts) -> None:
        """Print where the job is, unless a line was printed just now."""
        self.calls += 1
        if self.calls == 1:
            resumed = f", {finished:,} of them done by an earlier call" if finished else ""
            self._say(f"{planned:,} {'partition' if planned == 1 else 'partitions'}{resumed}")
        elif self.calls == 2:
            self.base = finished, counts.rows_in
            self.began = time.monotonic()
            self._say(self._done(finished, planned, counts))
        elif time.monotonic() - self.printed > SECONDS_BETWEEN_LINES or finished == planned:
            seconds = max(time.monotonic() - self.began, 1e-9)
            rate = (counts.rows_in - self.base[1]) / seconds
            left = (planned - finished) * seconds / (finished - self.base[0])
            self._say(
                f"{self._done(finished, planned, counts)}, {rate:,.0f} {self.unit}/s, "
                f"{duration(left)} left"
            )

    def _done(self, finished: int, planned: int, counts: RowCounts) -> str:
        return f"{finished:,}/{planned:,} partitions, {counts.rows_in:,} {self.unit}"

    def _say(self, text: str) -> None:
        self.printed = time.monotonic()
        log(f"{self.verb}: {text}")
