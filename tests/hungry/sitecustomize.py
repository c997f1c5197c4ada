"""On the path of Ray's workers: the first that finds a meal eats it, that is, takes so many bytes."""

import os
import sys
import threading
import time
from pathlib import Path


def _eat(meal: Path) -> None:
    while True:
        time.sleep(0.05)
        try:
            mine = meal.rename(meal.with_name(f"{meal.name}-{os.getpid()}"))
        except FileNotFoundError:
            continue
        eaten = []
        for _ in range(int(mine.read_text()) >> 26):
            eaten.append(bytearray(1 << 26))  # zeroed, and so taken from the system
            eaten[-1][::4096] = b"x" * len(eaten[-1][::4096])
            time.sleep(0.02)


if "HUNGRY_MEAL" in os.environ and any("default_worker" in word for word in sys.orig_argv):
    threading.Thread(target=_eat, args=[Path(os.environ["HUNGRY_MEAL"])], daemon=True).start()
