"""Parsing in processes of its own, which a bad file may hang or kill without harm to its neighbours."""

from __future__ import annotations

import importlib
import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType, TracebackType
from typing import NamedTuple, Self

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from emrl_ray.crystals.schema import RejectReason
from emrl_ray.sources.files.formats.registry import Format, read_document
from emrl_ray.sources.files.parsed import ParsedCrystal, ParseFailure

BATCH = 128
"""Documents that are sent to a process together: a trip costs as much as parsing a few of them."""
BATCH_BYTES = 1 << 20
"""Size beyond which a batch is not made larger."""
GRACE = 30.0
"""Seconds beyond its limit after which a process ends itself, should nobody be left to do so."""


class Document(NamedTuple):
    """The content of one file."""

    content: bytes
    kind: Format


Found = list[ParsedCrystal | ParseFailure]


class ParserPool:
    """Processes that parse; one that hangs or dies costs the file that it had, no other.

    They are forked from a server that has imported the parsers, so a new one is there at once.
    """

    def __init__(self, processes: int, seconds: float, kinds: Iterable[Format] = ()) -> None:
        """Make a pool of `processes` that grants a document `seconds`.

        `kinds` are the formats to expect, whose parsers are then loaded beforehand: to load one
        would count against the time of the first document that needs it.
        """
        context = multiprocessing.get_context("forkserver")
        modules = _parser_modules(kinds)
        context.set_forkserver_preload(["__main__", __name__, *modules])
        self.seconds = seconds
        self.window = 2 * processes
        self.pool = ProcessPool(processes, initializer=_load, initargs=[modules], context=context)

    def __enter__(self) -> Self:
        """Return the pool."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the processes."""
        self.close()

    def close(self) -> None:
        """End the processes."""
        self.pool.stop()
        self.pool.join()

    def read(self, documents: Iterable[Document]) -> Iterator[Found]:
        """Yield what each document holds, in order; few of them are in memory at a time."""
        waiting: deque[tuple[list[Document], ProcessFuture]] = deque()
        for batch in _batches(documents):
            waiting.append((batch, self._send(batch)))
            if len(waiting) > self.window:
                yield from self._receive(*waiting.popleft())
        while waiting:
            yield from self._receive(*waiting.popleft())

    def _send(self, batch: Sequence[Document]) -> ProcessFuture:
        return self.pool.schedule(_read_batch, [batch, self.seconds], timeout=self.seconds)

    def _receive(self, batch: list[Document], future: ProcessFuture) -> Iterator[Found]:
        """Yield what a batch holds; if one of them spoils it, each is read again on its own."""
        try:
            yield from future.result()
        except (TimeoutError, ProcessExpired) as error:
            if len(batch) == 1:
                yield [_flaw(error, self.seconds)]
            else:
                for document in batch:
                    yield from self._receive([document], self._send([document]))


@contextmanager
def main_hidden() -> Iterator[None]:
    """Keep processes that start within the context from importing `__main__`.

    Parsers need nothing of it. To import it would run a caller's script again where that has no guard
    against it, and cost a second where it is Ray's.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _load(modules: Sequence[str]) -> None:
    """Import what the server may not have: it lives as long as the process that made the pool."""
    for module in modules:
        importlib.import_module(module)


def _read_batch(batch: Sequence[Document], seconds: float) -> list[Found]:
    """Read documents; runs in a process of the pool."""
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE)  # not caught: the kernel ends the process
    found = [read_document(*document) for document in batch]
    signal.setitimer(signal.ITIMER_REAL, 0)
    return found


def _flaw(error: TimeoutError | ProcessExpired, seconds: float) -> ParseFailure:
    if isinstance(error, TimeoutError):
        return ParseFailure(RejectReason.TIMED_OUT, f"not read after {seconds:g} s")
    code = error.exitcode
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    return ParseFailure(RejectReason.PARSER_CRASHED, f"the process that read it ended with {how}")


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.content)
        if len(batch) == BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _parser_modules(kinds: Iterable[Format]) -> list[str]:
    modules = {
        Format.POSCAR: ["pymatgen.io.vasp.inputs"],
        Format.VASPRUN: ["pymatgen.io.vasp.outputs"],
        Format.ASE_ROW: ["ase.db.sqlite"],
    }
    return sorted({module for kind in kinds for module in modules.get(kind, [])})
