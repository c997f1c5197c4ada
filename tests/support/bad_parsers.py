"""A stand-in for a parser that a file can hang or kill."""

from __future__ import annotations

import os
import signal
import sys
import time

from emrl_ray.sources.files import parser_pool
from emrl_ray.sources.files.formats import registry as readers
from tests.support.paths import ROOT


def read_cif(text):
    """Read CIF, unless the text tells to do otherwise."""
    if text == "hang":
        time.sleep(600)
    if text == "exit":
        os._exit(7)
    if text == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return readers.read_cif(text)


def read_party(batch, seconds):
    """Do what `parser_pool._read_batch` does, with that parser, in a process of a pool."""
    readers.READERS[readers.Format.CIF] = read_cif
    return [readers.read_document(*document) for document in batch]


def install():
    """Let the pools of this process use that parser."""
    sys.path.insert(0, str(ROOT))  # processes of the pool import this module
    parser_pool._read_batch = read_party
