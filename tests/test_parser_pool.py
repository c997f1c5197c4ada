"""A file that hangs or kills its parser costs itself alone."""

import os
import signal
import subprocess
import sys
import time

import pytest

from emrl_ray.crystals import parser_pool, readers
from emrl_ray.crystals.crystal import Crystal, Flaw
from emrl_ray.crystals.parser_pool import Document, ParserPool
from emrl_ray.crystals.readers import Format
from emrl_ray.crystals.tables import RejectReason

CIF = (
    "data_x\n"
    + "".join(f"_cell_{name} 5\n" for name in ("length_a", "length_b", "length_c"))
    + "".join(f"_cell_angle_{name} 90\n" for name in ("alpha", "beta", "gamma"))
    + "loop_\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
)


def document(text):
    return Document(text.encode(), Format.CIF)


def good(number):
    return document(CIF + "Na 0 0 0\n" * number)


def read_badly(text):
    """Stand in for a parser that a file can hang or kill."""
    if text == "hang":
        time.sleep(600)
    if text == "exit":
        os._exit(7)
    if text == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return readers.read_cif(text)


@pytest.fixture
def badly_read(monkeypatch):
    """Let documents be read by `read_badly`, in the processes of a pool as well."""
    monkeypatch.setattr(parser_pool, "_read_party", _read_party_badly)


def _read_party_badly(party, seconds):
    readers.READERS[Format.CIF] = read_badly
    return [readers.read_document(*entry) for entry in party]


def test_documents_come_back_in_order():
    with ParserPool(2, 30) as pool:
        found = list(pool.read(good(1 + index % 3) for index in range(200)))
    assert [len(crystal.atomic_numbers) for (crystal,) in found] == [1, 2, 3] * 66 + [1, 2]


def test_a_file_that_hangs_or_kills_its_parser_costs_itself_alone(badly_read):
    documents = [good(1), document("hang"), good(2), document("exit"), document("kill"), good(3)]
    with ParserPool(1, 0.5) as pool:
        found = [entry for (entry,) in pool.read(documents)]
    assert [len(e.atomic_numbers) for e in found if isinstance(e, Crystal)] == [1, 2, 3]
    assert [entry for entry in found if isinstance(entry, Flaw)] == [
        (RejectReason.TIMED_OUT, "not read after 0.5 s"),
        (RejectReason.PARSER_CRASHED, "the process that read it ended with exit status 7"),
        (RejectReason.PARSER_CRASHED, "the process that read it ended with signal SIGKILL"),
    ]


def test_a_process_that_nobody_is_left_to_stop_ends_itself():
    code = (
        "import time; from emrl_ray.crystals import parser_pool, readers\n"
        "parser_pool.GRACE = -9.5; readers.READERS['cif'] = lambda text: time.sleep(600)\n"
        "parser_pool._read_party([parser_pool.Document(b'hang', 'cif')], 10)"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False)
    assert ended.returncode == -signal.SIGALRM


def test_loading_a_parser_does_not_count_against_the_time_of_a_file():
    poscar = b"NaCl\n1\n5 0 0\n0 5 0\n0 0 5\nNa Cl\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n"
    with ParserPool(1, 0.5, [Format.POSCAR]) as pool:
        ((found,),) = pool.read([Document(poscar, Format.POSCAR)])
    assert isinstance(found, Crystal), found
