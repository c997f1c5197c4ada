"""A file that hangs or kills its parser costs itself alone."""

import signal
import subprocess
import sys

import pytest

from emrl_ray.crystals.schema import RejectReason
from emrl_ray.sources.files import parser_pool
from emrl_ray.sources.files.formats.registry import Format
from emrl_ray.sources.files.parsed import ParsedCrystal, ParseFailure
from emrl_ray.sources.files.parser_pool import Document, ParserPool
from tests.support import bad_parsers
from tests.support.crystal_files import cif


def document(text):
    return Document(text.encode(), Format.CIF)


def good(number):
    return document(cif([f"Na Na {index / 9} 0 0 1" for index in range(number)]))


@pytest.fixture
def bad_parser(monkeypatch):
    """Let pools use a parser that a file can hang or kill."""
    monkeypatch.setattr(parser_pool, "_read_batch", bad_parsers.read_party)


def test_documents_come_back_in_order():
    with ParserPool(2, 30) as pool:
        found = list(pool.read(good(1 + index % 3) for index in range(200)))
    assert [len(crystal.atomic_numbers) for (crystal,) in found] == [1, 2, 3] * 66 + [1, 2]


def test_a_file_that_hangs_or_kills_its_parser_costs_itself_alone(bad_parser):
    documents = [good(1), document("hang"), good(2), document("exit"), document("kill"), good(3)]
    with ParserPool(1, 0.5) as pool:
        found = [entry for (entry,) in pool.read(documents)]
    assert [len(e.atomic_numbers) for e in found if isinstance(e, ParsedCrystal)] == [1, 2, 3]
    assert [entry for entry in found if isinstance(entry, ParseFailure)] == [
        ParseFailure(RejectReason.TIMED_OUT, "not read after 0.5 s"),
        ParseFailure(
            RejectReason.PARSER_CRASHED, "the process that read it ended with exit status 7"
        ),
        ParseFailure(
            RejectReason.PARSER_CRASHED, "the process that read it ended with signal SIGKILL"
        ),
    ]


def test_a_process_that_nobody_is_left_to_stop_ends_itself():
    code = (
        "import time; from emrl_ray.sources.files import parser_pool; from emrl_ray.sources.files.formats import registry\n"
        "parser_pool.GRACE = -9.5; registry.READERS['cif'] = lambda text: time.sleep(600)\n"
        "parser_pool._read_batch([parser_pool.Document(b'hang', 'cif')], 10)"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False)
    assert ended.returncode == -signal.SIGALRM


def test_loading_a_parser_does_not_count_against_the_time_of_a_file():
    poscar = b"NaCl\n1\n5 0 0\n0 5 0\n0 0 5\nNa Cl\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n"
    with ParserPool(1, 0.5, [Format.POSCAR]) as pool:
        ((found,),) = pool.read([Document(poscar, Format.POSCAR)])
    assert isinstance(found, ParsedCrystal), found


def test_a_script_without_a_guard_is_not_run_again_in_the_processes_of_a_pool(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from emrl_ray.sources.files.parser_pool import Document, ParserPool, main_hidden\n"
        "print('once')\n"
        "with main_hidden(), ParserPool(1, 30) as pool:\n"
        "    print(len([*pool.read([Document(b'', 'cif')])]))\n"
    )
    said = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert said.stdout == "once\n1\n"
