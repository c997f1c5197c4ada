"""Many files of a file system, read several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pyarrow import fs

from emrl_ray.io.runtime import available_cpus

REQUESTS = 16
"""Files of an object store that are read at a time."""
RESULTS_HELD = 64
"""Things of which what was read is held at a time."""
S = TypeVar("S")
T = TypeVar("T")


def map_concurrently(
    read: Callable[[S], T], things: Sequence[S], filesystem: fs.FileSystem
) -> Iterator[T]:
    """Yield what `read` makes of each thing of a file system, in order.

    Several are read at a time: in an object store many, as a request is mostly waiting; on a disk as many
    as there are CPUs, as Arrow keeps memory for each thread that has read. Of few the result is held.
    """
    local = isinstance(filesystem, fs.LocalFileSystem)
    with ThreadPoolExecutor(available_cpus() if local else REQUESTS) as threads:
        for first in range(0, len(things), RESULTS_HELD):
            yield from threads.map(read, things[first : first + RESULTS_HELD])
