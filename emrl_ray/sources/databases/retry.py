"""Asking again, patiently: back-off, and never before a server wants to be asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
    wait_exponential,
    wait_random,
)

from emrl_ray.config.errors import ServerError
from emrl_ray.sources.databases.http_session import TransientError

LONGEST_BACK_OFF = 60.0
"""Seconds."""
T = TypeVar("T")


class RetryPolicy:
    """Repeats what fails for a while; threads share one, and wait together when a server asks for it."""

    def __init__(self, attempts: int, patience: float) -> None:
        """Try `attempts` times, `patience` seconds after the first failure and then twice as long."""
        self.attempts = attempts
        self.repeats = 0
        """Requests that were repeated so far."""
        growing = wait_exponential(multiplier=patience, max=LONGEST_BACK_OFF)
        self._back_off = growing + wait_random(0, patience / 2)
        self._given_up = threading.Event()
        self._lock = threading.Lock()
        self._not_before = 0.0

    def __call__(self, ask: Callable[[], T]) -> T:
        """Return what `ask` returns, called again for as long as it raises TransientError.

        Raises ConnectionError, in one line, after the last try.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(TransientError),
            stop=stop_after_attempt(self.attempts) | stop_when_event_set(self._given_up),
            wait=self._wait,
            sleep=sleep_using_event(self._given_up),
            reraise=True,
        )
        try:
            return retrying(self._when_welcome, ask)
        except TransientError as error:
            message = str(error)
        tries = "1 try" if self.attempts == 1 else f"{self.attempts} tries"
        raise ServerError(f"{message}, after {tries}")

    @property
    def given_up(self) -> bool:
        """Whether nothing is repeated any more."""
        return self._given_up.is_set()

    def give_up(self) -> None:
        """Let no thread wait any longer: what fails from now on is not repeated."""
        self._given_up.set()

    def _when_welcome(self, ask: Callable[[], T]) -> T:
        """Ask, once the time has passed that a server asked any thread to wait."""
        self._given_up.wait(max(0.0, self._not_before - time.monotonic()))
        return ask()

    def _wait(self, state: RetryCallState) -> float:
        """Return the seconds until the next try, by back-off or as the server asks for."""
        error = state.outcome.exception() if state.outcome else None
        asked = error.wait if isinstance(error, TransientError) else 0.0
        with self._lock:
            self.repeats += 1
            if asked:
                self._not_before = max(self._not_before, time.monotonic() + asked)
        return max(asked, self._back_off(state))
