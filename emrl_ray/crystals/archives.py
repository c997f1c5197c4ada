"""The members of archives, addressed by their place in the archive, so that none is extracted."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import IO, Any, NamedTuple, cast

from emrl_ray.crystals.crystal import ReadError
from emrl_ray.crystals.storage import Location, write_stream
from emrl_ray.crystals.tables import RejectReason

MAX_CONTENT_BYTES = 256 << 20
"""Largest file that is read; it is in memory as a whole."""
ZIP_HEADER = struct.Struct("<26xHH")
"""A zip member's own header: 26 bytes that the directory repeats, lengths of name and extra field."""

COMPRESSED_TAR: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys((".tar.gz", ".tgz"), gzip.open),
    **dict.fromkeys((".tar.bz2", ".tbz2"), bz2.open),
    **dict.fromkeys((".tar.xz", ".txz"), lzma.open),
}
ENDINGS = (*COMPRESSED_TAR, ".tar", ".zip")
"""How the names of archives end."""


class Packing(StrEnum):
    """How the content of a file is stored."""

    PLAIN = "plain"
    ZIP_STORED = "zip, stored"
    ZIP_DEFLATED = "zip, deflated"
    ENCRYPTED = "zip, encrypted"
    OTHER = "zip, by a method other than deflate"


class Span(NamedTuple):
    """Bytes of a file or an archive that hold the content of one file."""

    start: int
    """First byte; for a zip member that of its header."""
    stored: int
    """Bytes as they are stored."""
    size: int
    """Bytes of the content."""
    packing: Packing = Packing.PLAIN
    checksum: int = 0
    """CRC-32 of the content of a zip member."""


class Member(NamedTuple):
    """A file in an archive."""

    name: str
    span: Span


def members(archive: Location) -> list[Member]:
    """Return the files of a .tar or .zip archive in its order; folders and links are no files.

    Raises ValueError, in one line, for an archive that is damaged.
    """
    try:
        with archive.filesystem.open_input_file(archive.path) as stream:
            if archive.name.lower().endswith(".zip"):
                return list(_zip_members(stream))
            return list(_tar_members(stream))
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{archive.path}: damaged archive ({error})") from None


def decompressed(archive: Location, staging: Location) -> Location:
    """Return the place of a .tar.gz (.bz2, .xz) as a .tar in `staging`, unpacked there if need be.

    A compressed tar can be read only from its start, which every slice would have to do.
    Raises ValueError, in one line, for an archive that is damaged.
    """
    info = archive.info
    target = staging / f"{archive.name}-{info.size}-{info.mtime_ns}.tar"
    if target.exists():
        return target
    name = archive.name.lower()
    unpack = next(open_ for ending, open_ in COMPRESSED_TAR.items() if name.endswith(ending))
    try:
        with (
            archive.filesystem.open_input_stream(archive.path, compression=None) as stored,
            unpack(stored) as content,
        ):
            write_stream(content, target)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise ValueError(f"{archive.path}: damaged archive ({error})") from None
    return target


def is_archive(name: str) -> bool:
    """Return whether a file is an archive, by its name."""
    return name.lower().endswith(ENDINGS)


def is_compressed_tar(name: str) -> bool:
    """Return whether a file is a tar that has to be unpacked to be read, by its name."""
    return name.lower().endswith(tuple(COMPRESSED_TAR))


def read_span(stream: IO[bytes], span: Span) -> bytes:
    """Return the content at a span of an open file; raises ReadError if it cannot be had."""
    if span.size > MAX_CONTENT_BYTES:
        raise ReadError(
            RejectReason.UNREADABLE, f"{span.size:,} bytes, at most {MAX_CONTENT_BYTES:,}"
        )
    stream.seek(span.start)
    if span.packing is Packing.PLAIN:
        content = stream.read(span.stored)
    elif span.packing in (Packing.ZIP_STORED, Packing.ZIP_DEFLATED):
        name, extra = ZIP_HEADER.unpack(stream.read(ZIP_HEADER.size))
        stream.seek(name + extra, io.SEEK_CUR)
        content = _inflated(stream.read(span.stored), span)
    else:
        raise ReadError(RejectReason.UNREADABLE, f"stored as {span.packing}")
    if len(content) != span.size:
        raise ReadError(RejectReason.UNREADABLE, f"{len(content)} bytes of {span.size}")
    return content


def _inflated(stored: bytes, span: Span) -> bytes:
    try:
        content = (
            zlib.decompressobj(-zlib.MAX_WBITS).decompress(stored, span.size + 1)
            if span.packing is Packing.ZIP_DEFLATED
            else stored
        )
    except zlib.error as error:
        raise ReadError(RejectReason.UNREADABLE, f"damaged in the archive: {error}") from None
    if zlib.crc32(content) != span.checksum:
        raise ReadError(RejectReason.UNREADABLE, "damaged in the archive: wrong checksum")
    return content


def _tar_members(stream: Any) -> Iterator[Member]:
    with tarfile.open(fileobj=io.BufferedReader(stream, 1 << 16), mode="r:") as archive:
        for entry in archive:
            cast("Any", archive).members = []  # else it keeps them all
            if entry.isreg() and not entry.issparse():
                yield Member(entry.name, Span(entry.offset_data, entry.size, entry.size))
        end = archive.offset
    stream.seek(end)
    if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile takes it for the end
        raise tarfile.ReadError(f"no header at byte {end}")


def _zip_members(stream: Any) -> Iterator[Member]:
    packings = {zipfile.ZIP_STORED: Packing.ZIP_STORED, zipfile.ZIP_DEFLATED: Packing.ZIP_DEFLATED}
    with zipfile.ZipFile(stream) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            packing = packings.get(entry.compress_type, Packing.OTHER)
            if entry.flag_bits & 1:
                packing = Packing.ENCRYPTED
            yield Member(
                entry.filename,
                Span(entry.header_offset, entry.compress_size, entry.file_size, packing, entry.CRC),
            )
