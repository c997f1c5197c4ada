"""Changed CIFs through the whole loading path, read in a process that may be killed."""

from __future__ import annotations

from benchmarks.faults.changed_texts import SEEDS
from benchmarks.faults.fuzz_cif import run_batch
from emrl_ray.sources.files.formats.registry import Format
from emrl_ray.sources.files.parser_pool import ParserPool
from tests.support.difficult_cifs import CASES

COUNT = 3000


def test_every_changed_cif_is_a_row_or_a_reject_in_time(tmp_path):
    texts = [text.encode() for text in (*SEEDS, *(case.text for case in CASES.values()))]
    with ParserPool(1, 5.0, [Format.CIF]) as pool:
        found = run_batch(1, range(COUNT), texts, pool, tmp_path)
    assert found.inputs == COUNT
    assert found.rows > COUNT / 50
    assert not {"timed_out", "parser_crashed"} & found.rejects.keys()
