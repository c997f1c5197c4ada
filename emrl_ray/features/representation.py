"""What heads, trust and screening ask of anything that turns crystals into vectors."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.features.graphs import Graphs


class Representation(Protocol):
    """A fixed map from crystals to vectors."""

    @property
    def width(self) -> int:
        """Numbers in a vector."""

    def embed(self, batch: CrystalBatch) -> NDArray[np.float32]:
        """Return (B, width); a crystal without a pair within the cutoff gets a row of NaN."""

    def embed_with_features(
        self, batch: CrystalBatch
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Return `embed` and the features (B, f) before the readout, None where vectors are those."""
        return self.embed(batch), None


class GraphRepresentation(Representation, Protocol):
    """A representation that reads no more than graphs, as every network does."""

    def embed_graphs(self, graphs: Graphs) -> NDArray[np.float32]:
        """Return (B, width) of graphs with the pairs up to the network's cutoff."""
