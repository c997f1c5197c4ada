"""The members of archives, addressed by their place in the archive, so that none is extracted."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import IO, Any, NamedTuple, cast

from emrl_ray.config.errors import UserError
from emrl_ray.io.atomic import write_stream
from emrl_ray.io.paths import Location
from emrl_ray.io.zip_index import zip_entries

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
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile)
"""What reading a damaged file raises."""
GZIP_MAGIC = b"\x1f\x8b"
"""How a file that gzip made begins, which no text does."""


class ArchiveError(Exception):
    """A packed file, or a part of an archive, that cannot be unpacked."""


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


def members(archive: Location, source: str) -> Iterator[Member]:
    """Yield the files of a .tar or .zip archive in its order; folders and links are no files.

    Raises UserError, in one line, for an archive that is damaged, which people know as `source`.
    """
    try:
        with archive.filesystem.open_input_file(archive.path) as stream:
            if archive.name.lower().endswith(".zip"):
                yield from _zip_members(stream)
            else:
                yield from _tar_members(stream)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"{source}: damaged archive ({error})") from None


def decompressed(file: Location, staging: Location) -> Location:
    """Return the place of a .tar.gz (.bz2, .xz) or .gz as it is within, in `staging`, unpacked there if need be.

    A compressed file can be read only from its start, which every partition would have to do.
    Raises UserError, in one line, for a file that is damaged.
    """
    name = file.name.lower()
    unpack: Callable[[Any], Any] = next(
        (open_ for end, open_ in COMPRESSED_TAR.items() if name.endswith(end)), gzip.open
    )

    def write(stored: Any, target: Location) -> None:
        with unpack(stored) as content:
            write_stream(content, target)

    return _staged(file, ".tar" if is_archive(name) else "", staging, write)


def extracted(archive: Location, member: str, staging: Location) -> Location:
    """Return the place of a member of a zip in `staging`, unpacked there if need be.

    Raises UserError, in one line, for an archive that is damaged.
    """

    def write(stored: Any, target: Location) -> None:
        with zipfile.ZipFile(stored) as opened, opened.open(member) as content:
            write_stream(content, target)

    return _staged(archive, ".member", staging, write)


def gunzipped(content: bytes) -> bytes:
    """Return what gzip made `content` of; raises ArchiveError if it is damaged or too large."""
    try:
        with gzip.open(io.BytesIO(content)) as stream:
            found = stream.read(MAX_CONTENT_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ArchiveError(f"damaged gzip: {error}") from None
    if len(found) > MAX_CONTENT_BYTES:
        raise ArchiveError(f"unpacked more than {MAX_CONTENT_BYTES:,} bytes")
    return found


def is_archive(name: str) -> bool:
    """Return whether a file is an archive, by its name."""
    return name.lower().endswith(ENDINGS)


def is_compressed_tar(name: str) -> bool:
    """Return whether a file is a tar that has to be unpacked to be read, by its name."""
    return name.lower().endswith(tuple(COMPRESSED_TAR))


def read_member_bytes(stream: IO[bytes], span: Span) -> bytes:
    """Return the content at a span of an open file; raises ArchiveError if it cannot be had."""
    if span.size > MAX_CONTENT_BYTES:
        raise ArchiveError(f"{span.size:,} bytes, at most {MAX_CONTENT_BYTES:,}")
    stream.seek(span.start)
    if span.packing is Packing.PLAIN:
        content = stream.read(span.stored)
    elif span.packing in (Packing.ZIP_STORED, Packing.ZIP_DEFLATED):
        name, extra = ZIP_HEADER.unpack(stream.read(ZIP_HEADER.size))
        stream.seek(name + extra, io.SEEK_CUR)
        content = _inflated(stream.read(span.stored), span)
    else:
        raise ArchiveError(f"stored as {span.packing}")
    if len(content) != span.size:
        raise ArchiveError(f"{len(content)} bytes of {span.size}")
    return content


def _staged(
    file: Location, ending: str, staging: Location, write: Callable[[Any, Location], None]
) -> Location:
    """Return the place in `staging` that `write` fills from a file, if it has not yet."""
    info, location = file.info, hashlib.sha256(file.path.encode()).hexdigest()[:16]
    target = staging / f"{file.name}-{location}-{info.size}-{info.mtime_ns}{ending}"
    if target.exists():
        return target
    try:
        with file.filesystem.open_input_file(file.path) as stored:
            write(stored, target)
    except DAMAGE as error:
        raise UserError(f"{file.path}: damaged archive ({error})") from None
    return target


def _inflated(stored: bytes, span: Span) -> bytes:
    try:
        content = (
            zlib.decompressobj(-zlib.MAX_WBITS).decompress(stored, span.size + 1)
            if span.packing is Packing.ZIP_DEFLATED
            else stored
        )
    except zlib.error as error:
        raise ArchiveError(f"damaged in the archive: {error}") from None
    if zlib.crc32(content) != span.checksum:
        raise ArchiveError("damaged in the archive: wrong checksum")
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
    for entry in zip_entries(stream, stream.size()):
        if entry.name.endswith("/"):
            continue
        packing = packings.get(entry.method, Packing.OTHER)
        if entry.flags & 1:
            packing = Packing.ENCRYPTED
        span = Span(entry.start, entry.stored, entry.size, packing, entry.checksum)
        yield Member(entry.name, span)
