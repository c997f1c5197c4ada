"""Archives: their members are crystals, read where they lie; what is damaged is told."""

import gzip
import io
import json
import os
import tarfile
import zipfile

import pytest

from emrl_ray.crystals.schema import RejectReason
from emrl_ray.sources.files.partitions import source_of
from emrl_ray.sources.files.targets import join, read_targets
from tests.support.crystal_files import (
    NACL,
    POSCAR,
    STRUCTURE,
    edges,
    load,
    salt,
    written,
)

MEMBERS = [(f"d/c{number}.cif", salt(4 + number).encode()) for number in range(5)]
MEMBERS += [("id_prop.csv", b"c0,1"), ("._d/c0.cif", b""), ("big.cif", b" " * 2000)]


def tar(path, members, mode):
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("link.cif")
        link.type = tarfile.SYMTYPE
        link.linkname = "a.cif"
        archive.addfile(link)


@pytest.mark.parametrize("kind", ["w:tar", "w:gz.tar.gz", "w:bz2.tbz2", "w:xz.tar.xz", "zip"])
def test_the_members_of_an_archive_are_its_crystals(tmp_path, kind):
    if kind == "zip":
        path = tmp_path / "x.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.mkdir("d")
            for number, (name, content) in enumerate(MEMBERS):
                archive.writestr(
                    name, content, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[number % 2]
                )
    else:
        mode, _, ending = kind.partition(".") if "." in kind else ("w:", "", "tar")
        path = tmp_path / f"x.{ending}"
        tar(path, MEMBERS, mode)
    crystals, rejects, plan = load(tmp_path, path)
    assert crystals.column("id").to_pylist() == [f"c{number}" for number in range(5)]
    assert [row[0] for row in crystals.column("lattice").to_pylist()] == [4, 5, 6, 7, 8]
    assert rejects == [("big", RejectReason.EMPTY)]
    assert plan.passed_over.paths == [f"{path}/id_prop.csv", f"{path}/._d/c0.cif"]
    assert source_of(plan.partitions[0], "c1") == f"{path}/d/c1.cif"
    assert [partition.name for partition in plan.partitions] == ["slice-000000", "slice-000001"]


def test_members_are_read_whatever_folder_they_are_said_to_be_in(tmp_path):
    named = ["./a.cif", "../b.cif", "/c.cif", "./d/./e.cif", "./POSCAR", "./.f.cif", "d/_g/h.cif"]
    content = {name: POSCAR if name == "./POSCAR" else NACL for name in named}
    tar(tmp_path / "x.tgz", [(name, text.encode()) for name, text in content.items()], "w:gz")
    crystals, rejects, plan = load(tmp_path, tmp_path / "x.tgz")
    assert list(edges(crystals)) == ["a", "b", "c", "e", "POSCAR"]
    assert rejects == []
    assert source_of(plan.partitions[0], "a") == f"{tmp_path}/x.tgz/a.cif"
    assert plan.passed_over.count == 2
    assert plan.passed_over.paths[0] == f"{tmp_path}/x.tgz/.f.cif"


def test_an_archive_holds_files_of_all_kinds(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.cif", NACL)
        archive.writestr("b/CONTCAR", POSCAR)
        archive.writestr("c.json", json.dumps([STRUCTURE, STRUCTURE]))
        archive.writestr("d.cif", "")
        archive.writestr("inner.zip", "")
    crystals, rejects, plan = load(tmp_path, tmp_path / "x.zip")
    assert edges(crystals) == {"a": 5, "b": 5, "c#1": 5, "c#2": 5}
    assert rejects == [("d", RejectReason.EMPTY)]
    assert plan.passed_over.paths == [str(tmp_path / "x.zip/inner.zip")]


def test_gnome_is_a_zip_of_cifs_and_a_table_of_targets(tmp_path):

    with zipfile.ZipFile(tmp_path / "by_id.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, name in enumerate(("0008d2e20e", "0012a4b5cd", "00ffffffff")):
            archive.writestr(f"by_id/{name}.CIF", salt(4 + number))
    written(
        tmp_path / "stable_materials_summary.csv",
        ",Composition,MaterialId,Reduced Formula,Elements,NSites,Bandgap,Is Train\n"
        "0,Cl1Na1,0008d2e20e,NaCl,\"['Cl', 'Na']\",2,1.5,True\n"
        "1,Cl1Na1,0012a4b5cd,NaCl,\"['Cl', 'Na']\",2,,False\n",
    )
    crystals, rejects, _ = load(tmp_path, tmp_path / "by_id.zip")
    assert list(edges(crystals)) == ["0008d2e20e", "0012a4b5cd", "00ffffffff"]
    targets = read_targets(str(tmp_path / "stable_materials_summary.csv"), id_column="MaterialId")
    table, missing = join(crystals, targets, str)
    assert table.column("Bandgap").to_pylist() == [1.5, None]
    assert table.column("Is Train").to_pylist() == [True, False]
    assert [reject.id for reject in missing] == ["00ffffffff"]
    assert rejects == []


def test_a_compressed_tar_is_unpacked_once(tmp_path):
    tar(tmp_path / "x.tar.gz", MEMBERS, "w:gz")
    load(tmp_path, tmp_path / "x.tar.gz")
    (staged,) = (tmp_path / "staged").iterdir()
    before = staged.stat().st_mtime_ns
    load(tmp_path, tmp_path / "x.tar.gz")
    assert staged.stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["cut", "header", "gzip", "zip", "empty", "emptied"])
def test_a_damaged_archive_is_refused_in_one_line(tmp_path, damage):
    path = tmp_path / ("x.zip" if damage == "zip" else "x.tar.gz" if damage == "gzip" else "x.tar")
    tar(path, MEMBERS, "w")
    content = path.read_bytes()
    if damage == "header":
        content = content[:1024] + b"\7" * 512 + content[1536:]
    elif damage == "gzip":
        content = gzip.compress(content)
    content = b"" if damage == "empty" else content[: len(content) // 3]
    if damage == "emptied":
        path, content = tmp_path / "x.tar.gz", gzip.compress(b"")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{path}: damaged archive") as caught:
        load(tmp_path, path)
    assert "\n" not in str(caught.value)


def test_a_damaged_member_of_a_zip_is_a_reject(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in MEMBERS[:4]:
            archive.writestr(name, content)
    content = bytearray(path.read_bytes())
    content[content.index(b"Na1 Na")] ^= 1  # wrong checksum
    entry = content.index(b"PK\1\2", content.index(b"PK\1\2") + 4)
    content[entry + 8] |= 1  # the second is encrypted
    entry = content.index(b"PK\1\2", entry + 4)
    content[entry + 10] = 99  # an unknown method
    path.write_bytes(content)
    crystals, rejects, _ = load(tmp_path, path)
    assert crystals.column("id").to_pylist() == ["c3"]
    assert rejects == [(f"c{number}", RejectReason.UNREADABLE) for number in range(3)]


def test_the_directory_of_a_zip_is_read_as_zipfile_reads_it(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(b"#!/bin/sh\n" * 10)  # what unpacks itself has something before the archive
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"PK\5 comment"
        for number in range(70_000):  # more than a directory without Zip64 can hold
            archive.writestr(f"ä{number}.txt", b"")
        with archive.open("a.cif", "w", force_zip64=True) as member:
            member.write(NACL.encode())
    crystals, _, plan = load(tmp_path, path)
    assert edges(crystals) == {"a": 5}
    assert plan.passed_over.count == 70_000
    assert plan.passed_over.paths[0].endswith("x.zip/ä0.txt")


def test_a_file_with_an_odd_name_in_an_archive_is_read(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        info = tarfile.TarInfo(b"d/\xff.cif".decode("utf-8", "surrogateescape"))
        info.size = len(NACL)
        archive.addfile(info, io.BytesIO(NACL.encode()))
    crystals, rejects, _ = load(tmp_path, tmp_path / "x.tar")
    assert crystals.column("id").to_pylist() == ["\ufffd"]
    assert rejects == []


def test_archives_of_the_same_name_size_and_time_are_unpacked_each_for_itself(tmp_path):
    for number, folder in enumerate(("one", "two")):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "x.tar.gz"
        tar(path, [(f"c{number}.cif", salt(4 + number).encode())], "w:gz")
        path.write_bytes(path.read_bytes().ljust(1000, b"\0"))
        os.utime(path, ns=(1, 1))
    crystals, _, _ = load(tmp_path, tmp_path / "one", tmp_path / "two")
    assert edges(crystals) == {"c0": 4, "c1": 5}
