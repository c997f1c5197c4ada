"""One call at a time writes to a folder: a lock that names its owner and shows that it lives.

The owner writes the lock anew every few seconds, with a number that grows. Whoever finds a lock
watches that number; clocks of different machines are never compared. An object store has no exclusive
creation that all of them share, so a lock is written, and is ours if it is still ours a moment
later. Two calls that write at the same moment can both take it for theirs only if one of them stood
still in between; then the one that was overwritten learns it at its next beat and stops. Nothing is
lost meanwhile: both compute the same partitions, and each file is moved in place whole.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import signal
import threading
import time
import uuid
from pathlib import Path
from typing import Any, Self

import psutil  # type: ignore[import-untyped]

from emrl_ray.config import UserError
from emrl_ray.io.atomic import write_json
from emrl_ray.io.console import log
from emrl_ray.io.paths import Location, names_in, read_json, remove

LOCK = "_lock.json"
HEARTBEAT_SECONDS = 5.0
"""Seconds between two beats of an owner."""
STALE_AFTER_SECONDS = 30.0
"""Seconds without a beat after which an owner is given up for dead."""
SETTLE_SECONDS = 0.2
"""Seconds after which a lock that we wrote must still be ours."""


class LockedError(UserError):
    """A folder that another call writes to."""


class FolderLock:
    """Context: this call is the only one that writes to `folder`, for as long as it lasts.

    Entering raises LockedError, in one line, if another call holds the folder. A lock whose owner is
    gone is taken over: at once if the owner ran on this machine, else after `STALE_AFTER_SECONDS` seconds in which
    it showed no life. A call that finds its lock taken over is interrupted, and raises LockedError.
    """

    def __init__(self, folder: Location, verb: str) -> None:
        self._folder, self._location = folder, folder / LOCK
        self._owner = {
            "verb": verb,
            "host": platform.node(),
            "machine": _machine(),
            "process": os.getpid(),
            "began": psutil.Process().create_time(),
            "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "token": uuid.uuid4().hex,
        }
        self._ended = threading.Event()
        self._lost_to: dict[str, Any] | None = None
        self._interrupts = threading.current_thread() is threading.main_thread()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._made_folder = False

    def __enter__(self) -> Self:
        if (found := self._read()) is not None and not _is_gone(found):
            self._watch(found)
        self._made_folder = not self._folder.exists()
        self._write(0)
        time.sleep(SETTLE_SECONDS)
        now = self._read()
        if now is not None and now["token"] != self._owner["token"]:
            raise self._refusal(now)
        self._heart.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        self._heart.join()
        if self._lost_to is not None:
            raise self._refusal(self._lost_to) from None
        remove(self._location)
        if self._made_folder and not names_in(self._folder):
            remove(self._folder)

    def _watch(self, found: dict[str, Any]) -> None:
        """Return once the owner of a lock shows no more life; raises LockedError if it does."""
        if found["machine"] == self._owner["machine"]:  # and is not gone
            raise self._refusal(found)
        log(
            f"{self._owner['verb']}: {self._folder.path} is locked by {_called(found)}: waiting up to "
            f"{STALE_AFTER_SECONDS:g} s for a sign of life",
        )
        end = time.monotonic() + STALE_AFTER_SECONDS
        while time.monotonic() < end:
            time.sleep(1.0)
            now = self._read()
            if now is None:
                return
            if (now["token"], now["beat"]) != (found["token"], found["beat"]):
                raise self._refusal(now)

    def _beat(self) -> None:
        beat = 0
        while not self._ended.wait(HEARTBEAT_SECONDS):
            beat += 1
            with contextlib.suppress(OSError):  # a store that fails now may answer at the next beat
                now = self._read()
                if now is not None and now["token"] != self._owner["token"]:
                    self._lost_to = now
                    if self._interrupts:
                        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                    return
                self._write(beat)

    def _read(self) -> dict[str, Any] | None:
        """Return what the lock says; None if there is none, or half of one."""
        try:
            return read_json(self._location)
        except (FileNotFoundError, json.JSONDecodeError):
            return None

    def _write(self, beat: int) -> None:
        write_json({**self._owner, "beat": beat}, self._location)

    def _refusal(self, owner: dict[str, Any]) -> LockedError:
        return LockedError(
            f"{self._folder.path} is in use: {_called(owner)} writes to it since {owner['since']}; "
            "wait for it, or stop it and call again"
        )


def _called(owner: dict[str, Any]) -> str:
    return f"{owner['verb']} (process {owner['process']} on {owner['host']})"


def _is_gone(owner: dict[str, Any]) -> bool:
    """Return whether an owner ran on this machine and does no longer."""
    if owner["machine"] != _machine():
        return False
    try:
        process = psutil.Process(owner["process"])
        return process.create_time() != owner["began"] or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _machine() -> str:
    """Return what tells apart the machines, and containers, in which process ids mean something."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115  # no path, a name
    return " ".join(parts)
