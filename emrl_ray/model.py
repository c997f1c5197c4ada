"""The model as an artefact: representation, heads, calibration and card in one folder.

A model carries all that it needs to predict: cutoff, element table and basis come from its folder,
never from the caller. Nothing in it is pickled, and predicting needs no torch.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.storage import (
    Location,
    absolute,
    list_files,
    locate,
    read_json,
    read_table,
    table_schema,
    write_bytes,
    write_json,
    write_parquet,
)
from emrl_ray.crystals.tables import CRYSTAL_SCHEMA, GEOMETRY, Reject, Stage
from emrl_ray.crystals.validation import Limits, validate
from emrl_ray.features.basis import gaussian_basis
from emrl_ray.features.compiled import CompiledTGNN, State
from emrl_ray.features.elements import element_features
from emrl_ray.features.pairs import reject_lonely
from emrl_ray.features.representation import GraphRepresentation, Representation
from emrl_ray.heads import HEADS, Head
from emrl_ray.trust import Calibration, NearestKnown

FORMAT_VERSION = 1
CARD = "card.json"
NETWORK = "network.safetensors"
REFERENCE = "reference.parquet"
NEAREST = ("nearest_id", "nearest_formula", "nearest_target", "nearest_distance")
PREDICTED = ("prediction", "lower", "upper", *NEAREST)
IN_UNIT_OF_TARGET = ("prediction", "lower", "upper", "nearest_target")


@dataclass(frozen=True)
class Card:
    """What a model is and where it comes from."""

    target: str
    """Column that was learned."""
    unit: str | None
    """Its unit."""
    theory: str | None
    """Its level of theory."""
    network: str
    """Name of the embedding network."""
    cutoff: float
    """Longest pair distance, Å."""
    elements: Any
    """Filling of unknown element properties (`features.elements`)."""
    basis: Any
    """Name of the distance basis (`features.basis`)."""
    width: int
    """Numbers in an embedding."""
    heads: dict[str, dict[str, int]]
    """The heads by name, with what each chose by itself."""
    best_head: str
    """The head that predicts unless another is asked for."""
    rows: dict[str, int]
    """Rows of training, calibration and test."""
    metrics: dict[str, Any]
    """Scores by part and head, and the floors."""
    dataset: str
    """Fingerprint of the training data."""
    hyperparameters: dict[str, Any]
    """Options of the training, seed included."""
    versions: dict[str, str]
    """Versions of the packages that made the model."""
    format_version: int = field(default=FORMAT_VERSION)
    """Version of the folder's format."""


class Model:
    """A trained model; `load` opens one, `predict` uses it."""

    def __init__(
        self,
        card: Card,
        representation: Representation,
        heads: Mapping[str, Head],
        calibrations: Mapping[str, Calibration],
        reference: Callable[[], pa.Table],
        state: State,
        elements_csv: bytes,
    ) -> None:
        """Put a model together; `reference` is called when its rows are first needed."""
        self.card, self.representation = card, representation
        self.heads, self.calibrations = heads, calibrations
        self.state, self.elements_csv = state, elements_csv
        self._read_reference = reference

    @cached_property
    def reference(self) -> pa.Table:
        """The training rows: id, formula, target and embedding."""
        return self._read_reference()

    @cached_property
    def nearest_known(self) -> NearestKnown:
        """The search for the nearest of the reference rows."""
        return NearestKnown(self.reference_embeddings)

    @property
    def reference_embeddings(self) -> NDArray[np.float32]:
        """Embeddings (n, width) of the reference rows."""
        values = self.reference.column("embedding").combine_chunks().flatten()
        return values.to_numpy().reshape(-1, self.card.width)

    @property
    def cutoff(self) -> float:
        """Longest pair distance, Å."""
        return self.card.cutoff

    @property
    def calibration(self) -> Calibration | None:
        """Calibration of the best head, if rows were kept for one."""
        return self.calibrations.get(self.card.best_head)

    def embed(self, batch: CrystalBatch) -> NDArray[np.float32]:
        """Return the embeddings (B, width); a crystal without a pair gets a row of NaN."""
        return self.representation.embed(batch)

    def embed_crystals(
        self, crystals: pa.Table, limits: Limits, source: str = ""
    ) -> tuple[pa.Table, NDArray[np.float32], list[Reject]]:
        """Return the rows of a crystals table that have an embedding, these (B, width), and rejects.

        There is a reject for each other row. The cutoff of `limits` is the model's.
        """
        good, rejects = validate(crystals, limits._replace(cutoff=self.cutoff), source)
        embeddings = self.embed(CrystalBatch.from_arrow(good))
        lonely = np.isnan(embeddings[:, 0])
        kept, without_pairs = reject_lonely(good, lonely, self.cutoff, source, Stage.PREDICT)
        return kept, embeddings[~lonely], rejects + without_pairs

    def head_name(self, name: str | None) -> str:
        """Return `name` if the model has such a head, the best head for None.

        Raises ValueError, in one line, if it has not.
        """
        if name is not None and name not in self.card.heads:
            raise ValueError(f"--head {name}: the model has {', '.join(self.card.heads)}")
        return name or self.card.best_head

    def predict(
        self, crystals: pa.Table, limits: Limits, head: str | None = None, source: str = ""
    ) -> tuple[pa.Table, list[Reject]]:
        """Return the predictions of a crystals table, and a reject for each row without one.

        Columns: id, formula, prediction, lower and upper (90 % interval, null for a model without
        calibration), id, formula and true target of the nearest reference row, and its distance in
        embedding space (null for a model without such rows), then what came in besides the
        geometry. Targets are in the target's unit. The cutoff of `limits` is the model's.
        """
        name = self.head_name(head)
        check_free_columns(crystals.schema, source)
        kept, embeddings, rejects = self.embed_crystals(crystals, limits, source)
        values = self.heads[name].predict(embeddings) if kept.num_rows else np.zeros(0)
        predicted = self._predicted(values, self.calibrations.get(name))
        return self._table(kept, predicted | self._nearest(embeddings)), rejects

    def _predicted(
        self, values: NDArray[np.float64], calibration: Calibration | None
    ) -> dict[str, pa.Array]:
        bounds = calibration.interval(values) if calibration else (None, None)
        lower, upper = (
            pa.nulls(len(values), pa.float64()) if bound is None else pa.array(bound)
            for bound in bounds
        )
        return {"prediction": pa.array(values, pa.float64()), "lower": lower, "upper": upper}

    def _nearest(self, embeddings: NDArray[np.float32]) -> dict[str, pa.Array]:
        index, distance = self.nearest_known.query(embeddings)
        known = self.reference.select(["id", "formula", self.card.target])
        found = known.take(pa.array(index, mask=index < 0))
        columns = [*found.columns, pa.array(distance, mask=index < 0)]
        return dict(zip(NEAREST, columns, strict=True))

    def _table(self, crystals: pa.Table, found: Mapping[str, pa.Array]) -> pa.Table:
        """Return the columns that were found, between those of the crystals."""
        given = crystals.column_names
        columns = {
            "id": crystals.column("id"),
            "formula": crystals.column("formula")
            if "formula" in given
            else pa.nulls(crystals.num_rows, pa.string()),
            **found,
        }
        unit = {"unit": self.card.unit} if self.card.unit else None
        further = [name for name in given if name not in (*columns, *GEOMETRY)]
        schema = pa.schema(
            [
                CRYSTAL_SCHEMA.field("id"),
                CRYSTAL_SCHEMA.field("formula"),
                *(
                    pa.field(
                        name, column.type, metadata=unit if name in IN_UNIT_OF_TARGET else None
                    )
                    for name, column in found.items()
                ),
                *(crystals.schema.field(name) for name in further),
            ]
        )
        return pa.Table.from_arrays(
            [*columns.values(), *(crystals.column(name) for name in further)], schema=schema
        )

    def save(self, uri: str) -> None:
        """Write the model's folder; its card comes last and makes it valid."""
        folder = locate(uri)
        with tempfile.TemporaryDirectory() as scratch:
            for head in self.heads.values():
                head.save(Path(scratch))
            for file in sorted(Path(scratch).iterdir()):
                write_bytes(file.read_bytes(), folder / file.name)
        write_bytes(safetensors.save(dict(self.state)), folder / NETWORK)
        write_bytes(self.elements_csv, folder / "elements.csv")
        calibrations = {name: made.to_json() for name, made in self.calibrations.items()}
        write_json(calibrations, folder / "calibration.json")
        write_parquet(self.reference, folder / REFERENCE)
        write_json(asdict(self.card), folder / CARD)

    @classmethod
    def load(cls, uri: str, threads: int = 1) -> Model:
        """Return the model in a folder, computing with `threads` threads.

        Raises FileNotFoundError or ValueError, in one line, if there is none or none of ours.
        """
        folder = locate(uri)
        card = read_card(uri)
        with _damage_reported(uri):
            elements_csv = (folder / "elements.csv").read_bytes()
            state = read_state(uri)
            network = open_network(card, state, elements_csv, threads)
            calibrations = read_json(folder / "calibration.json").items()
            intervals = {name: Calibration.from_json(values) for name, values in calibrations}
        reference = _reference_reader(uri, card)
        heads = _Heads(folder, list(card.heads), threads)
        return cls(card, network, heads, intervals, reference, state, elements_csv)


def _reference_reader(uri: str, card: Card) -> Callable[[], pa.Table]:
    """Return what reads the reference rows of a model folder, whose columns are looked at now."""
    place = f"{absolute(uri)}/{REFERENCE}"
    with _damage_reported(uri):
        schema = table_schema(place)
        for name in ("id", "formula", card.target, "embedding"):
            schema.field(name)

    def read() -> pa.Table:
        with _damage_reported(uri):
            return read_table(place)

    return read


@contextmanager
def _damage_reported(uri: str) -> Iterator[None]:
    """Raise ValueError, in one line, for what a damaged file of a model folder leads to."""
    try:
        yield
    except (SafetensorError, OSError, KeyError, pa.ArrowInvalid, json.JSONDecodeError) as error:
        raise ValueError(f"{uri}: a damaged model: {' '.join(str(error).split())}") from error


def check_free_columns(schema: pa.Schema, source: str) -> None:
    """Raise ValueError, in one line, if a table has columns with the names of predictions."""
    for name in PREDICTED:
        if name in schema.names:
            raise ValueError(f"{source}: has a column {name!r}, as predictions have; rename it")


def read_card(uri: str) -> Card:
    """Return the card of a model folder; FileNotFoundError or ValueError, in one line, if unusable."""
    place = locate(uri) / CARD
    if not place.is_file():
        raise FileNotFoundError(f"{uri}: no model there ({CARD} is missing)")
    try:
        values = read_json(place)
    except json.JSONDecodeError:
        raise ValueError(f"{uri}: a damaged model: {CARD} is no JSON") from None
    version = values.get("format_version")
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{uri}: model format {version}, this version reads {FORMAT_VERSION}; train it again "
            "or use the emrl-ray version that its card names"
        )
    return Card(**{entry.name: values[entry.name] for entry in fields(Card)})


def read_state(uri: str) -> State:
    """Return the arrays of the network in a model folder; ValueError, in one line, if damaged."""
    with _damage_reported(uri):
        return safetensors.load((locate(uri) / NETWORK).read_bytes())


def open_network(
    card: Card, state: State, elements_csv: bytes, threads: int = 1
) -> GraphRepresentation:
    """Return the card's network in its form for inference; ValueError if it is not known here.

    The TGNN needs no torch; other networks are run by it, with `threads` threads.
    """
    if card.network == "tgnn":
        return CompiledTGNN(
            state,
            element_features(elements_csv, card.elements),
            card.cutoff,
            gaussian_basis(card.basis, card.cutoff).centers,
            threads,
        )
    from emrl_ray.networks import open_trained
    from emrl_ray.networks.network import NetworkSpec

    return open_trained(card.network, NetworkSpec.of(card), state, elements_csv, threads)


class _Heads(Mapping[str, Head]):
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
                raise ValueError(f"{self.folder.path}: a damaged model: head_{name} is missing")
            with tempfile.TemporaryDirectory() as scratch:
                for file in files:
                    (Path(scratch) / file.name).write_bytes(file.read_bytes())
                self.loaded[name] = HEADS[name].load(Path(scratch), self.threads)
        return self.loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
