"""The score of a trial: the error of a head on rows that its network does not learn from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emrl_ray.config import TrainConfig
from emrl_ray.features.element_properties import default_csv
from emrl_ray.features.representation import GraphRepresentation
from emrl_ray.io.runtime import limited_threads
from emrl_ray.model.heads import HEADS
from emrl_ray.networks import open_trained
from emrl_ray.networks.base import NetworkSpec
from emrl_ray.training.evaluation import mae
from emrl_ray.training.trainer import Shard, Trainer


class Validator:
    """Scores a network in training; each worker has one, and all of them come to the same score."""

    def __init__(self, config: TrainConfig, head: str, own: Shard, held_out: Shard) -> None:
        """Score with `head` fitted on the training rows, of which this worker holds `own`."""
        self.config, self.head, self.own, self.held_out = config, head, own, held_out

    def mae(self, trainer: Trainer) -> float:
        """Return the MAE on the rows held out, in the target's unit; all workers have to ask.

        Raises FloatingPointError, in one line, where the network gives numbers that are not finite.
        """
        threads = self.config.cpus_per_worker
        with limited_threads(threads):
            representation = open_trained(
                self.config.network,
                NetworkSpec.of(self.config),
                trainer.trained([]).state,
                default_csv(),
                threads,
            )
            own = self._embed(representation, self.own, trainer.epoch)
            known = trainer.gathered(own).numpy()
            head = HEADS[self.head](seed=self.config.seed, threads=threads)
            head.fit(known, trainer.targets.numpy())
            found = head.predict(self._embed(representation, self.held_out, trainer.epoch))
        return mae(found, self.held_out.targets)

    def _embed(
        self, representation: GraphRepresentation, rows: Shard, epoch: int
    ) -> NDArray[np.float32]:
        embeddings = representation.embed_graphs(rows.graphs)
        if not np.isfinite(embeddings).all():
            raise FloatingPointError(
                f"embeddings are not finite after epoch {epoch}: lower --learning-rate"
            )
        return embeddings
