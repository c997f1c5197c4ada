"""Settings of the allocator, which hold for the whole of a process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc's malloc")
def test_freed_memory_is_used_again_without_asking_the_system():
    program = (
        "import resource, sys; from emrl_ray.io.runtime import keep_freed_memory\n"
        "if sys.argv[1] == 'keep': keep_freed_memory()\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    held = [bytearray(20 << 20) for _ in range(5)]\n"
        "    for block in held: block[::4096] = bytes(5120)\n"
        "    del block, held\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "print(min(faults() for _ in range(5)))\n"
    )
    kept, usual = (
        int(subprocess.check_output([sys.executable, "-c", program, word]))
        for word in ("keep", "usual")
    )
    assert kept < 100 < usual
