"""The directory of a zip archive, entry by entry.

`zipfile` makes an object of half a kilobyte of each entry before it gives the first. This reads the directory in
blocks instead, so that the size of an archive costs no memory. Format: PKWARE's APPNOTE.TXT 6.3, with Zip64.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator
from typing import Any, NamedTuple

END = struct.Struct("<4s4H2LH")
"""End of the directory: signature, disks (2), entries (2), size and offset of the directory, comment."""
LOCATOR = struct.Struct("<4sLQL")
"""Before it, if the archive is Zip64: signature, disk, offset of the record below, disks."""
END64 = struct.Struct("<4sQ2H2L4Q")
"""Signature, size, versions (2), disks (2), entries (2), size and offset of the directory."""
ENTRY = struct.Struct("<4s6H3L5H2L")
"""Signature, versions (2), flags, method, time, date, checksum, stored and full size, lengths of name, extra
field and comment, disk, attributes (2), offset of the member's header."""
FULL = 0xFFFFFFFF
"""Stands for a number that is in the extra field of Zip64."""
COMMENT_BYTES = 1 << 16
BLOCK_BYTES = 1 << 20


class Entry(NamedTuple):
    """A member of a zip archive."""

    name: str
    flags: int
    method: int
    checksum: int
    """CRC-32 of the content."""
    stored: int
    """Bytes in the archive."""
    size: int
    """Bytes of the content."""
    start: int
    """First byte of the member's header in the file."""


def zip_entries(stream: Any, size: int) -> Iterator[Entry]:
    """Yield the members of a zip archive of `size` bytes in the order of its directory.

    Raises zipfile.BadZipFile for what is none, or is damaged.
    """
    start, length, shift = _directory(stream, size)
    stream.seek(start)
    directory = io.BufferedReader(stream, BLOCK_BYTES)
    while length > 0:
        fields = ENTRY.unpack(_exactly(directory, ENTRY.size))
        if fields[0] != b"PK\1\2":
            raise zipfile.BadZipFile("no entry where its directory has one")
        name, extra, comment = fields[10:13]
        content = _exactly(directory, name + extra + comment)
        length -= ENTRY.size + len(content)
        flags, method, checksum = fields[3], fields[4], fields[7]
        full, stored, offset = _sizes(
            content[name : name + extra], fields[9], fields[8], fields[16]
        )
        text = content[:name].decode("utf-8" if flags & 0x800 else "cp437", "replace")
        yield Entry(text, flags, method, checksum, stored, full, offset + shift)


def _directory(stream: Any, size: int) -> tuple[int, int, int]:
    """Return first byte and length of the directory, and by how much its offsets are too small.

    Offsets count from the first member; there may be bytes before it, as in a program that
    unpacks itself.
    """
    tail = min(size, END.size + COMMENT_BYTES)
    stream.seek(size - tail)
    found = stream.read(tail).rfind(b"PK\5\6")
    if found < 0 or found > tail - END.size:
        raise zipfile.BadZipFile("no directory at its end")
    end = size - tail + found
    stream.seek(end)
    *_, length, offset, _ = END.unpack(stream.read(END.size))
    if end >= LOCATOR.size:
        stream.seek(end - LOCATOR.size)
        locator = LOCATOR.unpack(stream.read(LOCATOR.size))
        if locator[0] == b"PK\6\7":
            end -= LOCATOR.size + END64.size
            stream.seek(max(end, 0))
            signature, *_, length, offset = END64.unpack(_exactly(stream, END64.size))
            if signature != b"PK\6\6":
                raise zipfile.BadZipFile("no Zip64 record where one is announced")
    if length + offset > end:
        raise zipfile.BadZipFile("its directory is longer than the file")
    return end - length, length, end - length - offset


def _sizes(extra: bytes, *sizes: int) -> list[int]:
    """Return full size, stored size and offset, those that are `FULL` from the Zip64 extra field."""
    found = list(sizes)
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            large = [value for (value,) in struct.iter_unpack("<Q", extra[4 : 4 + length // 8 * 8])]
            for index, value in enumerate(found):
                if value == FULL and large:
                    found[index] = large.pop(0)
        extra = extra[4 + length :]
    return found


def _exactly(stream: Any, count: int) -> bytes:
    content = stream.read(count)
    if len(content) < count:
        raise zipfile.BadZipFile("its directory is cut off")
    return bytes(content)
