"""What a long job says while it runs, and the account that it gives at the end."""

from __future__ import annotations

import time

from emrl_ray.pipelines.slices import Counts

SECONDS_BETWEEN_LINES = 2.0


class Progress:
    """Prints lines such as ``screen: 9/27 slices, 36,864 crystals, 3,410 crystals/s, 22 s left``.

    It is called as `slices.run_slices` calls its `progress`: first with what earlier calls did.
    Rate and time left are those of the slices done since.
    """

    def __init__(self, verb: str, unit: str = "crystals") -> None:
        self.verb = verb
        self.unit = unit
        self.first: tuple[int, int] | None = None
        self.began = self.printed = time.monotonic()

    def __call__(self, finished: int, planned: int, counts: Counts) -> None:
        """Print where the job is, unless a line was printed just now."""
        if self.first is None:
            self.first = finished, counts.rows_in
            self.began = time.monotonic()
            resumed = f", {finished:,} of them done by an earlier call" if finished else ""
            self._say(f"{planned:,} slices{resumed}")
            return
        now = time.monotonic()
        if now - self.printed < SECONDS_BETWEEN_LINES and finished < planned:
            return
        seconds = max(now - self.began, 1e-9)
        rate = (counts.rows_in - self.first[1]) / seconds
        left = (planned - finished) * seconds / max(finished - self.first[0], 1)
        self._say(
            f"{finished:,}/{planned:,} slices, {counts.rows_in:,} {self.unit}, "
            f"{rate:,.0f} {self.unit}/s, {duration(left)} left"
        )

    def _say(self, text: str) -> None:
        self.printed = time.monotonic()
        print(f"{self.verb}: {text}", flush=True)


def account(verb: str, counts: Counts) -> str:
    """Return the line that ends every verb: rows in = rows out + rejects, by reason."""
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in counts.rejects.most_common())
    return (
        f"{verb}: {counts.rows_in:,} rows in = {counts.rows_out:,} rows out + "
        f"{counts.rejects.total():,} rejects{f' ({reasons})' if reasons else ''}"
    )


def duration(seconds: float) -> str:
    """Return a time for people: 42 s, 7 min 05 s, 3 h 12 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
