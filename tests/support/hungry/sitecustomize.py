"""On the path of Ray's workers: the first that computes partitions and finds a meal eats it, so many bytes."""

import os
import sys
import threading
import time
from pathlib import Path

CHUNK = 1 << 26
"""Bytes."""


def _eat(meal: Path) -> None:
    computes_slices = False
    while not computes_slices:
        time.sleep(0.05)
        if meal.exists():
            name = Path("/proc/self/cmdline").read_bytes()  # as Ray calls the process
            computes_slices = name.startswith(b"ray::MapWorker")
    mine = meal.with_name(f"{meal.name}-{os.getpid()}")
    try:
        meal.rename(mine)
    except FileNotFoundError:  # another was first
        return
    sys.setswitchinterval(3600)  # the partition waits until all is eaten
    eater = meal.with_name(f".{meal.name}-eaten")
    eater.write_text(str(os.getpid()))
    eater.rename(meal.with_name(f"{meal.name}-eaten"))
    eaten = []
    for _ in range(int(mine.read_text()) // CHUNK):
        eaten.append(bytearray(CHUNK))  # zeroed, and so taken from the system
        eaten[-1][::4096] = b"x" * len(eaten[-1][::4096])
    time.sleep(60)


if "HUNGRY_MEAL" in os.environ and any("default_worker" in word for word in sys.orig_argv):
    threading.Thread(target=_eat, args=[Path(os.environ["HUNGRY_MEAL"])], daemon=True).start()
