"""Files of ids, and the lists in which they are asked for."""

from __future__ import annotations

import pytest

from emrl_ray.config import UserError
from emrl_ray.sources.databases.id_files import read_ids


def test_files_of_ids(tmp_path):
    file = tmp_path / "ids"
    for text, column, expected in [
        ("mp-1\n\n# no\nmp-2 \n", None, ["mp-1", "mp-2"]),
        ("\ufeffid\nmp-1\n", None, ["mp-1"]),
        ("mp-1,0.5\nmp-2,1\n", None, ["mp-1", "mp-2"]),
        ("a,b\n1,mp-1\n2\n", "b", ["mp-1", ""]),
        ("mp-1\n \t \n  # no\nmp-2\n , \n", None, ["mp-1", "mp-2"]),
        (" \nid,a\nmp-1,2\n", None, ["mp-1"]),
    ]:
        file.write_text(text)
        assert read_ids(str(file), column) == expected
    with pytest.raises(ValueError, match="no column 'c'"):
        read_ids(str(file), "c")
    for content in (b"", b"id\n", b"\xff\xfe"):
        file.write_bytes(content)
        with pytest.raises(UserError, match=f"^--ids {file}: no "):
            read_ids(str(file))
    with pytest.raises(FileNotFoundError, match=r"^--ids nowhere: no such file$"):
        read_ids("nowhere")


def test_ids_are_asked_for_in_lists_and_what_is_none_keeps_its_place():
    pytest.importorskip("mp_api")
    from emrl_ray.sources.databases.materials_project import _lists

    lists = _lists(["mp-30", "mp-4", "banana", "mp-30", "mp-12"], 2)
    assert [part.name for part in lists] == ["slice-000000", "slice-000001", "slice-000002"]
    assert [[line.text for line in part.lines] for part in lists] == [
        ["mp-30", "mp-4"],
        ["banana", "mp-30"],
        ["mp-12"],
    ]
    assert [[line.id for line in part.lines] for part in lists] == [
        ["mp-30", "mp-4"],
        [None, None],
        ["mp-12"],
    ]
