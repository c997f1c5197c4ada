"""The files of a model folder: network, heads and tables, read when they are needed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from safetensors import numpy as safetensors

from emrl_ray.config.errors import UserError
from emrl_ray.features.distance_basis import gaussian_basis
from emrl_ray.features.element_properties import element_features
from emrl_ray.features.inference.compiled_tgnn import CompiledTGNN, State
from emrl_ray.features.representation import GraphRepresentation
from emrl_ray.io.parquet import read_table, table_schema
from emrl_ray.io.paths import Location, absolute_uri, list_files, resolve
from emrl_ray.model.card import Card
from emrl_ray.model.errors import (
    CorruptModelError,
    as_corrupt,
    as_mapping,
    corruption_reported,
    read_mapping,
)
from emrl_ray.model.heads import HEADS, Head
from emrl_ray.model.uncertainty import ConformalCalibration

NETWORK, CALIBRATION = "network.safetensors", "calibration.json"


def read_state(uri: str) -> State:
    """Return the arrays of the network in a model folder; UserError, in one line, if damaged."""
    with corruption_reported(uri):
        return safetensors.load((resolve(uri) / NETWORK).read_bytes())


def open_network(
    card: Card, state: State, elements_csv: bytes, threads: int = 1
) -> GraphRepresentation:
    """Return the card's network in its form for inference; UserError if it is not known here.

    CorruptModelError if the element table cannot be read, or the network's arrays do not fit together.

    The TGNN needs no torch; other networks are run by it, with `threads` threads.
    """
    if card.network == "tgnn":
        with as_corrupt():
            return CompiledTGNN(
                state,
                element_features(elements_csv, card.elements),
                card.cutoff,
                gaussian_basis(card.basis, card.cutoff).centers,
                threads,
            )
    from emrl_ray.networks import open_trained
    from emrl_ray.networks.base import NetworkSpec

    return open_trained(card.network, NetworkSpec.of(card), state, elements_csv, threads)


def read_calibrations(folder: Location) -> dict[str, ConformalCalibration]:
    """Return the calibrations of a model folder by head; CorruptModelError if its file does not hold them."""
    found = {}
    for head, values in read_mapping(folder / CALIBRATION, CALIBRATION).items():
        entry = as_mapping(values, f"{head} in {CALIBRATION}")
        try:
            found[head] = ConformalCalibration.from_json(entry)
        except (TypeError, ValueError) as error:
            raise CorruptModelError(f"{head} in {CALIBRATION}: {error}") from error
    return found


class StoredHeads(Mapping[str, Head]):
    """The heads of a model folder, each read when it is first asked for."""

    def __init__(self, folder: Location, names: list[str], threads: int) -> None:
        self.folder, self.names, self.threads = folder, names, threads
        self.loaded: dict[str, Head] = {}

    def __getitem__(self, name: str) -> Head:
        if name not in self.names:
            raise KeyError(name)
        if name not in self.loaded:
            files = [
                file for file in list_files(self.folder) if file.name.startswith(f"head_{name}.")
            ]
            if not files:
                raise UserError(f"{self.folder.path}: a damaged model: head_{name} is missing")
            with tempfile.TemporaryDirectory() as scratch:
                for file in files:
                    (Path(scratch) / file.name).write_bytes(file.read_bytes())
                with corruption_reported(self.folder.path), as_corrupt():
                    self.loaded[name] = HEADS[name].load(Path(scratch), self.threads)
        return self.loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def table_reader(uri: str, name: str, columns: Sequence[str]) -> Callable[[], pa.Table]:
    """Return what reads a table of a model folder, whose columns are looked at now."""
    location = f"{absolute_uri(uri)}/{name}"
    with corruption_reported(uri):
        present = table_schema(location).names
        for column in columns:
            if column not in present:
                raise CorruptModelError(f"{name} has no column {column}")

    def read() -> pa.Table:
        with corruption_reported(uri):
            return read_table(location)

    return read
