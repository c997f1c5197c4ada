"""The model as an artefact: representation, heads, trust, reference rows and card in one folder.

A model carries all that it needs to predict: cutoff, element table and basis come from its folder,
never from the caller. Nothing in it is pickled, and predicting needs no torch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from safetensors import numpy as safetensors

from emrl_ray.config.errors import UserError
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.geometry.closest_contacts import find_contacts
from emrl_ray.crystals.matching.matcher import StructureIndex
from emrl_ray.crystals.schema import GEOMETRY, KNOWN_ID, Reject, Stage
from emrl_ray.crystals.validation import ValidationLimits, validate
from emrl_ray.features.inference.compiled_tgnn import State
from emrl_ray.features.pairs import reject_without_pairs
from emrl_ray.features.representation import Representation
from emrl_ray.io.atomic import write_bytes, write_json
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.model.card import CARD, Card, read_card
from emrl_ray.model.errors import as_corrupt, corruption_reported
from emrl_ray.model.files import (
    CALIBRATION,
    NETWORK,
    StoredHeads,
    open_network,
    read_calibrations,
    read_state,
    table_reader,
)
from emrl_ray.model.heads import Head
from emrl_ray.model.prediction_table import (
    bounds,
    check_free_columns,
    coordinates,
    matched_ids,
    nearest,
    prediction_table,
    verdicts,
)
from emrl_ray.model.uncertainty import (
    ApplicabilityDomain,
    ConformalCalibration,
    NearestNeighborIndex,
    PcaMap,
    Uncertainty,
)

DOMAIN = "domain.safetensors"
REFERENCE, HELD_OUT = "reference.parquet", "held_out.parquet"


class ModelTables(NamedTuple):
    """Tables of a model, each read when it is first needed."""

    reference: Callable[[], pa.Table]
    """Training rows: id, formula, target, embedding and, from format 2 on, place on the map, geometry."""
    held_out: Callable[[], pa.Table | None]
    """Calibration and test rows: id, part, target, prediction, lower, upper, geometry; none in format 1."""


class Embedded(NamedTuple):
    """The crystals of a table that have an embedding, B of them, and the others."""

    crystals: pa.Table
    """Their rows."""
    batch: CrystalBatch
    """The same."""
    embeddings: NDArray[np.float32]
    """(B, width)"""
    features: NDArray[np.float32] | None
    """(B, f) before the readout, None of a network whose embedding they are."""
    rejects: list[Reject]
    """Why the other rows have none."""


class Model:
    """A trained model; `load` opens one, `predict` uses it."""

    def __init__(
        self,
        card: Card,
        representation: Representation,
        heads: Mapping[str, Head],
        trust: Uncertainty,
        tables: ModelTables,
        state: State,
        elements_csv: bytes,
    ) -> None:
        """Put a model together."""
        self.card, self.representation = card, representation
        self.heads, self.trust, self.tables = heads, trust, tables
        self.state, self.elements_csv = state, elements_csv

    @cached_property
    def reference(self) -> pa.Table:
        """The training rows, with the columns that `ModelTables` tells."""
        return self.tables.reference()

    @cached_property
    def held_out(self) -> pa.Table | None:
        """The calibration and test rows, with the columns that `ModelTables` tells; None in format 1."""
        return self.tables.held_out()

    @cached_property
    def nearest_known(self) -> NearestNeighborIndex:
        """The search for the nearest of the reference rows."""
        return NearestNeighborIndex(self.reference_embeddings)

    @cached_property
    def plane(self) -> PcaMap:
        """The map of the embedding space that the reference rows span."""
        return PcaMap.of(self.reference_embeddings)

    @cached_property
    def labelled(self) -> pa.Table | None:
        """The training rows, then those held out: id and geometry; None in format 1."""
        if self.held_out is None:
            return None
        parts = [part.select(["id", *GEOMETRY]) for part in (self.reference, self.held_out)]
        return pa.concat_tables(parts).combine_chunks()

    @cached_property
    def known(self) -> StructureIndex | None:
        """The search for crystals that are labelled rows; None in format 1, which kept no structures."""
        if self.labelled is None:
            return None
        batch = CrystalBatch.from_arrow(self.labelled)
        return StructureIndex(batch, find_contacts(batch))

    @property
    def reference_embeddings(self) -> NDArray[np.float32]:
        """Embeddings (n, width) of the reference rows."""
        embeddings = self.reference.column("embedding").combine_chunks().flatten()
        return embeddings.to_numpy().reshape(-1, self.card.width)

    @property
    def calibrations(self) -> Mapping[str, ConformalCalibration]:
        """Calibrations by head, if rows were kept for them."""
        return self.trust.calibrations

    @property
    def cutoff(self) -> float:
        """Longest pair distance, Å."""
        return self.card.cutoff

    @property
    def calibration(self) -> ConformalCalibration | None:
        """Calibration of the best head, if rows were kept for one."""
        return self.calibrations.get(self.card.best_head)

    def embed(self, batch: CrystalBatch) -> NDArray[np.float32]:
        """Return the embeddings (B, width); a crystal without a pair gets a row of NaN."""
        return self.representation.embed(batch)

    def embed_crystals(
        self, crystals: pa.Table, limits: ValidationLimits, source: str = ""
    ) -> Embedded:
        """Return the embeddings of a crystals table, and a reject for each row without one.

        The cutoff of `limits` is the model's.
        """
        good, rejects = validate(crystals, limits._replace(cutoff=self.cutoff), source)
        batch = CrystalBatch.from_arrow(good)
        embeddings, features = self.representation.embed_with_features(batch)
        lonely = np.isnan(embeddings[:, 0])
        kept, without_pairs = reject_without_pairs(good, lonely, self.cutoff, source, Stage.PREDICT)
        if lonely.any():
            batch, embeddings = batch.take(np.flatnonzero(~lonely)), embeddings[~lonely]
            features = None if features is None else features[~lonely]
        return Embedded(kept, batch, embeddings, features, rejects + without_pairs)

    def read_head(self, name: str | None) -> str:
        """Return `name`, or that of the best head for None, when that head has been read.

        Raises UserError, in one line, if the model has no such head, or a damaged one.
        """
        if name is not None and name not in self.card.heads:
            raise UserError(f"--head {name}: the model has {', '.join(self.card.heads)}")
        chosen = name or self.card.best_head
        _ = self.heads[chosen]
        return chosen

    def predict(
        self,
        crystals: pa.Table,
        limits: ValidationLimits,
        head: str | None = None,
        source: str = "",
        confidence: float = 0.9,
    ) -> tuple[pa.Table, list[Reject]]:
        """Return the predictions of a crystals table, and a reject for each row without one.

        The columns are those of `PREDICTION_COLUMNS`, between id and formula and what came in besides the
        geometry. Targets are in the target's unit. Intervals hold with `confidence`. The cutoff of
        `limits` is the model's.
        """
        name = self.read_head(head)
        check_free_columns(crystals.schema, source)
        embedded = self.embed_crystals(crystals, limits, source)
        found = self._found(name, embedded, confidence)
        return prediction_table(embedded.crystals, found, self.card.unit), embedded.rejects

    def _found(self, head: str, embedded: Embedded, confidence: float) -> dict[str, pa.Array]:
        """Return the columns of `PREDICTION_COLUMNS`."""
        _, batch, embeddings, features, _ = embedded
        values = self.heads[head].predict(embeddings) if len(embeddings) else np.zeros(0)
        index, distance = self.nearest_known.query(embeddings)
        calibration = self.calibrations.get(head)
        ends = calibration.interval(values, distance, confidence) if calibration else None
        reasons, ids = self._recognized(batch, features, distance)
        return {
            "prediction": pa.array(values, pa.float64()),
            **bounds(ends, len(values)),
            **verdicts(reasons, len(values)),
            **nearest(self.reference, index, distance, self.card.target),
            KNOWN_ID: ids,
            **coordinates(self.plane.project(embeddings)),
        }

    def _recognized(
        self,
        batch: CrystalBatch,
        features: NDArray[np.float32] | None,
        distance: NDArray[np.float64],
    ) -> tuple[list[str | None] | None, pa.Array]:
        """Return why crystals are outside the domain, and the ids of those that are labelled rows.

        A training crystal is inside in any cell, though a supercell has more atoms than it. Of
        format 1 there are no reasons, and the ids are null.
        """
        domain, known, labelled = self.trust.domain, self.known, self.labelled
        if domain is None or known is None or labelled is None:
            return None, pa.nulls(batch.n_crystals, pa.string())
        contacts = find_contacts(batch)
        reasons = domain.reasons(batch, contacts, features, distance)
        same = known.find(batch, contacts)
        for crystal in np.flatnonzero((same >= 0) & (same < self.reference.num_rows)).tolist():
            reasons[crystal] = None
        return reasons, matched_ids(labelled, same)

    def save(self, uri: str) -> None:
        """Write the model's folder; its card comes last and makes it valid."""
        folder = resolve(uri)
        with tempfile.TemporaryDirectory() as scratch:
            for head in self.heads.values():
                head.save(Path(scratch))
            for file in sorted(Path(scratch).iterdir()):
                write_bytes(file.read_bytes(), folder / file.name)
        write_bytes(safetensors.save(dict(self.state)), folder / NETWORK)
        write_bytes(self.elements_csv, folder / "elements.csv")
        calibrations = {name: made.to_json() for name, made in self.calibrations.items()}
        write_json(calibrations, folder / CALIBRATION)
        if self.trust.domain is not None:
            write_bytes(safetensors.save(self.trust.domain.to_arrays()), folder / DOMAIN)
        write_parquet(self.reference, folder / REFERENCE)
        if self.held_out is not None:
            write_parquet(self.held_out, folder / HELD_OUT)
        write_json(asdict(self.card), folder / CARD)

    @classmethod
    def load(cls, uri: str, threads: int = 1) -> Model:
        """Return the model in a folder, computing with `threads` threads.

        Raises MissingFileError or UserError, in one line, if there is none or none of ours.
        """
        folder = resolve(uri)
        card = read_card(uri)
        with corruption_reported(uri):
            elements_csv = (folder / "elements.csv").read_bytes()
            state = read_state(uri)
            network = open_network(card, state, elements_csv, threads)
            intervals = read_calibrations(folder)
            domain = None
            if card.keeps_structures:
                arrays = safetensors.load((folder / DOMAIN).read_bytes())
                with as_corrupt():
                    domain = ApplicabilityDomain.from_arrays(arrays)
        geometry = GEOMETRY if card.keeps_structures else ()
        columns = ["id", "formula", card.target, "embedding", *geometry]
        tables = ModelTables(
            table_reader(uri, REFERENCE, columns),
            table_reader(uri, HELD_OUT, ["id", "part", *geometry]) if geometry else lambda: None,
        )
        heads = StoredHeads(folder, list(card.heads), threads)
        return cls(
            card, network, heads, Uncertainty(intervals, domain), tables, state, elements_csv
        )
