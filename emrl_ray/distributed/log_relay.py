"""Lines that workers say, printed by the driver: once each, without Ray's prefix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import ray
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from emrl_ray.io.console import log

LogSink = Callable[[str], None]


class _Sender:
    """Sends lines to the driver; it may be passed to any worker."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue

    def __call__(self, text: str) -> None:
        actor: Any = self.queue.actor
        actor.put_nowait.remote(text)  # to wait for it would give the CPU of a task away


@contextmanager
def relay_worker_logs() -> Iterator[LogSink]:
    """Give a function for workers that prints a line on the driver, until the context ends."""
    here = ray.get_runtime_context().get_node_id()  # any other node may go
    place = NodeAffinitySchedulingStrategy(here, soft=False)
    queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": place})
    printer = Thread(target=_print_lines, args=(queue,), daemon=True)
    printer.start()
    try:
        yield _Sender(queue)
    finally:
        queue.put(None)
        printer.join()
        queue.shutdown()


def _print_lines(queue: Queue) -> None:
    while (text := queue.get()) is not None:
        log(text)
