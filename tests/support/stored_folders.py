"""Folders that the commands leave, finished and interrupted: `tests/data/folders` holds some of an early version.

`python -m tests.support.stored_folders FOLDER` makes such folders with the version that is there.
The times of the source files and their paths are part of the records. `SOURCE` is where they were.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from emrl_ray.cli import main
from emrl_ray.distributed.training.local_training import _LocalSession
from emrl_ray.runs.partitioned_output import PartitionedOutput
from tests.support.crystal_files import salt
from tests.support.paths import STORED

SOURCE = Path("/stored")
"""Folder in which the stored folders were made."""
CHANGED_NS = 1_700_000_000_000_000_000
"""Time of the last change of all source files."""
INTERRUPTED = 130
"""Exit status of an interrupted command."""
TARGET = "ewald_energy"
NIGHTLY = {
    "ingest": {"sources": "files", "files_per_partition": 4},
    "screen": {"model": "train", "maximize": True, "top": 5, "block_rows": 4},
}
COMMANDS = {
    "library": "generate --count 60 --label ewald --part 1/2 --block-rows 12",
    "ingest": "ingest files --files-per-partition 4",
    "featurize": "featurize library --block-rows 12",
    "train": f"train library --target {TARGET} --epochs 6 --basis reference --width 8 --checkpoint-every 1 --calibration 0.25",
    "screen": "screen train library --target-window=-40:-30 --top 10 --block-rows 12",
    "nightly": "nightly --config nightly.yaml --night 2026-01-01",
}
"""How each folder is made, but for `--out`, in an order in which each command finds what it needs."""
KEPT = {"library": 7, "train": 8}
"""Writes before an interrupt where they are not two: hashes of `library` and graphs of `train` come first."""
HALF = "-half"
"""Ending of the names of the folders of interrupted commands."""


def write_sources(folder: Path) -> None:
    """Write the source files: 24 crystals, two of them bad, and the options of nightly."""
    (folder / "files").mkdir(parents=True)
    for number in range(24):
        text = "data_x\n" if number in (5, 17) else salt(4 + number / 16)
        (folder / "files" / f"c{number:02d}.cif").write_text(text)
    write_options(folder)
    set_times(folder)


def write_options(folder: Path) -> None:
    """Write the options of nightly, by the names that they have now."""
    (folder / "nightly.yaml").write_text(yaml.safe_dump(NIGHTLY))


def set_times(folder: Path) -> None:
    """Give the source files the time of change that the records hold."""
    for file in (folder / "files").iterdir():
        os.utime(file, ns=(CHANGED_NS, CHANGED_NS))


def call(name: str, out: str) -> int:
    """Run a command in the current folder and return its exit status."""
    return main([*COMMANDS[name].split(), "--out", out])


@contextlib.contextmanager
def interrupted_after(kept: int) -> Iterator[None]:
    """Context: Ctrl-C is pressed after so many partitions, or checkpoints, have been written."""
    written = 0

    def wrap(function: Any) -> Any:
        def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal written
            if written == kept:
                raise KeyboardInterrupt
            written += 1
            return function(*arguments, **options)

        return counted

    with (
        mock.patch.object(PartitionedOutput, "commit", wrap(PartitionedOutput.commit)),
        mock.patch.object(_LocalSession, "report", wrap(_LocalSession.report)),
    ):
        yield


def make(folder: Path) -> None:
    """Make the folders of all commands, finished and interrupted."""
    write_sources(folder)
    os.chdir(folder)
    for name in COMMANDS:
        assert call(name, name) == 0, name
        with interrupted_after(KEPT.get(name, 2)):
            assert call(name, f"{name}{HALF}") == INTERRUPTED, name
    for report in folder.rglob("report.html"):
        report.unlink()


def take_to(folder: Path) -> None:
    """Copy the stored folders to `folder`, as if they had been made there."""
    shutil.copytree(STORED / "folders", folder)
    write_options(folder)
    set_times(folder)
    stored_digest, digest = (listing_digest(place, folder) for place in (SOURCE, folder))
    for file in folder.rglob("*.json"):
        text = file.read_text().replace(stored_digest, digest)
        file.write_text(text.replace(f'"{SOURCE}', f'"{folder}'))
    for file in folder.rglob("files.parquet"):
        table = pq.read_table(file)
        for name in ("root", "path"):
            values = pc.replace_substring(
                table.column(name).cast(pa.string()), str(SOURCE), str(folder)
            )
            field = table.schema.field(name)
            table = table.set_column(
                table.schema.get_field_index(name), field, values.cast(field.type)
            )
        pq.write_table(table, file)


def listing_digest(place: Path, folder: Path) -> str:
    """Return the fingerprint that the records hold of the source files of `folder`, were they at `place`."""
    digest = hashlib.sha256()
    for file in sorted((folder / "files").iterdir()):
        path, size = f"{place}/files/{file.name}", file.stat().st_size
        digest.update(f"({path!r}, <Format.CIF: 'cif'>, {size}, {CHANGED_NS})".encode())
    return digest.hexdigest()[:32]


if __name__ == "__main__":
    make(Path(sys.argv[1]))
