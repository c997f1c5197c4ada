"""What a long job keeps of itself in its output folder, so that it can go on after a kill."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from typing import Any, NamedTuple

from emrl_ray.config import UserError
from emrl_ray.config.renamed import COMMANDS, current_names, first_command, first_names
from emrl_ray.io.atomic import TEMPORARY_NAME, write_json
from emrl_ray.io.paths import Location, absolute_uri, names_in, read_json, remove
from emrl_ray.io.preflight import check_output_folder
from emrl_ray.runs.lock import LOCK, FolderLock
from emrl_ray.runs.partitioned_output import PartitionedOutput

RECORD = "_run.json"
"""Whose an output folder is: the verb and its options, written there first."""
MANIFEST = "_manifest.json"
"""What a verb did, written last."""
OWNED_FILES = (
    *("_*", "slice-*.parquet", "rejects.parquet"),  # tables
    *("card.json", "head_*", "network.safetensors", "elements.csv"),  # models
    *("calibration.json", "domain.safetensors", "reference.parquet", "held_out.parquet"),
    "learning_curve.json",
    *(
        "predictions",
        "rejects",
        "shortlist.parquet",
        "shortlist.csv",
        "manifest.json",
        "report.html",
    ),  # runs
    *("graphs", "trials", "trials.parquet", "trials.csv", "best.yaml"),  # searches
)
"""Names of what the verbs write into their output folders."""
EXECUTION_OPTIONS = {
    *("out", "engine", "address", "workers", "cpus_per_worker", "gpu", "threads"),
    *("max_failures", "max_concurrent", "checkpoint_every", "overwrite"),
    *("min_workers", "graphs_memory"),
    *("parallel", "attempts", "patience", "request_timeout"),
    *("format", "table", "run_id"),
}
"""Options that say where a job runs, not what it computes: they may change between calls."""
VERB, INPUTS = "verb", "inputs"
"""Keys of the record for the verb and for the fingerprints of what it reads."""


HINT = "use --overwrite or another --out"
"""What to do about a folder of other arguments, unless a verb knows better."""


class RunDirectory(NamedTuple):
    """A call of a long verb and the folder that it writes to."""

    verb: str
    folder: Location
    arguments: Mapping[str, Any]
    """Its options."""
    inputs: Mapping[str, str]
    """Fingerprints of what it reads, by the name of the option that tells where."""
    record: str = RECORD
    """Name of the file in the folder that holds all of this."""
    called: Mapping[str, str] = {}
    """What the user calls options and inputs whose names in the record are others."""
    hint: str = HINT
    """What to do about a folder of other arguments."""

    @property
    def fingerprint(self) -> str:
        """A hash of what the job computes: its verb, options and inputs, not where it runs."""
        content = first_names(self._content()) | {VERB: first_command(self.verb)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @contextmanager
    def locked(self, overwrite: bool, besides: Collection[str] = ()) -> Iterator[None]:
        """Context: the folder is one that this job may write to, and no other call writes to it.

        Raises UserError as `check` does, and LockedError as `FolderLock` does.
        """
        self.check(overwrite, besides)
        with FolderLock(self.folder, self.verb):
            yield

    def claim(self, overwrite: bool, besides: Collection[str] = ()) -> bool:
        """Return whether an earlier call goes on; else make the folder this job's own.

        With `overwrite` what an earlier call left is deleted, `besides` some names, and nothing
        that is not ours. Raises UserError as `check` does.
        """
        self.check(overwrite, besides)
        if overwrite:
            for name in sorted(names_in(self.folder) - {self.record, LOCK, *besides}):
                if any(fnmatch(name, pattern) for pattern in OWNED_FILES):
                    remove(self.folder / name)
            remove(self.folder / self.record)  # last: it guards the rest
        if (self.folder / self.record).exists():
            return True
        write_json(self._content(), self.folder / self.record)
        return False

    def check(self, overwrite: bool, besides: Collection[str] = ()) -> None:
        """Raise UserError, in one line, if the folder is not one that the job may write to.

        That is no folder, or one that may not be written to, a folder with files (`besides` some) but
        no record, or the folder of another verb, or, unless it is to be overwritten, of the same
        verb with other options or inputs.
        """
        check_output_folder(self.folder, self.folder.path)
        names = names_in(self.folder) - {LOCK}
        if self.record not in names:
            begun = {name for name in names if re.fullmatch(TEMPORARY_NAME, name)}
            if names - begun - set(besides):
                raise UserError(
                    f"{self.folder.path} holds files but no {self.record} that tells whose they "
                    "are: use another --out"
                )
            return
        earlier, meant = current_names(read_json(self.folder / self.record)), self._content()
        earlier[VERB] = COMMANDS.get(earlier.get(VERB, ""), earlier.get(VERB))
        if earlier.get(VERB) != self.verb:
            raise UserError(
                f"{self.folder.path} holds the work of {earlier.get(VERB) or 'another program'}: "
                "use another --out"
            )
        differing = _differences(earlier, meant, self.called)
        if differing and not overwrite:
            raise UserError(
                f"{self.folder.path} holds a run with other arguments "
                f"({'; '.join(differing)}): {self.hint}"
            )

    def _content(self) -> dict[str, Any]:
        kept = {
            name: value for name, value in self.arguments.items() if name not in EXECUTION_OPTIONS
        }
        return {VERB: self.verb, **kept, INPUTS: dict(self.inputs)}


def is_finished(folder: Location, output: PartitionedOutput) -> bool:
    """Return whether an earlier call wrote all partitions of a table, as many as its manifest says.

    A manifest without all partitions is not valid, and is deleted.
    """
    manifest = folder / MANIFEST
    if not manifest.exists():
        return False
    if read_json(manifest).get("slices") == len(output.completed()):
        return True
    remove(manifest)
    return False


def refuse_input_as_output(out: str, **inputs: str | None) -> None:
    """Raise UserError, in one line, if an input is the output folder or lies in it."""
    for option, path in inputs.items():
        if path is not None and f"{absolute_uri(path)}/".startswith(
            f"{absolute_uri(out).rstrip('/')}/"
        ):
            raise UserError(f"--out {out}: --{option} {path} lies there; use another --out")


def _differences(
    earlier: dict[str, Any], meant: dict[str, Any], called: Mapping[str, str]
) -> list[str]:
    """Return what is not as it was, one line for an option and what it names."""
    names = sorted((earlier.keys() | meant.keys()) - {INPUTS})
    before, now = earlier.get(INPUTS, {}), meant.get(INPUTS, {})
    options = {name: called.get(name, f"--{name.replace('_', '-')}") for name in names}
    found = {
        options[name]: f"{options[name]} was {earlier.get(name)!r}, is {meant.get(name)!r}"
        for name in names
        if earlier.get(name) != meant.get(name)
    }
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            option = called.get(name, f"--{name}")
            found.setdefault(option, f"what {option} names is not what it was")
    return [*found.values()]
