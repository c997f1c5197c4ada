"""The training loop of an embedding network; it knows neither Ray nor files.

A step takes a global batch of rows, of which each worker embeds its own; batch statistics and the
embeddings themselves are shared, so that every worker computes the same loss over the same
triplets, and what is learned does not depend on how many workers there are. Whatever is random
follows from (seed, epoch, step) alone, so a restored state goes on as if nothing had happened.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emrl_ray.config import OptimizationConfig
from emrl_ray.features.graphs import Graphs
from emrl_ray.losses import Triplets, draw_triplets, loss_function
from emrl_ray.networks.batch_norm import WeightedBatchNorm
from emrl_ray.networks.communicator import Communicator

SMALLEST_BATCH = 3
"""A triplet needs three rows."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}


class Shard(NamedTuple):
    """The rows of the training set that one worker holds: rows `start`, `start + 1`, ..."""

    graphs: Graphs
    """Their graphs, n of them."""
    targets: NDArray[np.float64]
    """(n,) their targets."""
    start: int
    """Row of the first of them in the whole training set."""


class EpochRecord(NamedTuple):
    """One pass over the training set."""

    epoch: int
    """Epochs done."""
    loss: float
    """Mean loss of the steps."""
    learning_rate: float
    """At the end of the epoch."""
    seconds: float
    """Wall time."""


class Trainer:
    """An embedding network in training, on one worker of several that share each batch."""

    def __init__(
        self,
        network: nn.Module,
        shard: Shard,
        options: OptimizationConfig,
        communicator: Communicator,
        device: torch.device | str = "cpu",
    ) -> None:
        """Prepare a training of `options.epochs` epochs; margin, rates and batch size must be set."""
        assert options.batch_size is not None
        assert options.learning_rate is not None
        assert options.l2 is not None
        self.network = network.to(device, DTYPES[options.precision])
        self.shard, self.options, self.communicator = shard, options, communicator
        self.device = torch.device(device)
        self.loss = loss_function(options.loss)
        for module in self.network.modules():
            if isinstance(module, WeightedBatchNorm):
                module.communicator = communicator
        own = torch.tensor(shard.targets, device=self.device)
        self.targets = communicator.gather(own, 0).cpu()
        starts = torch.tensor([shard.start], device=self.device)
        self.starts = communicator.gather(starts, 0).cpu().numpy()
        self.parameters = [part for part in self.network.parameters() if part.requires_grad]
        self.optimizer = torch.optim.Adam(
            self.parameters, lr=options.learning_rate, weight_decay=options.l2
        )
        self.steps_per_epoch = len(batch_bounds(len(self.targets), options.batch_size))
        self.scheduler = self._make_schedule()
        self.epoch = 0

    def _make_schedule(self) -> torch.optim.lr_scheduler.LRScheduler:
        if self.options.schedule == "constant":
            return torch.optim.lr_scheduler.ConstantLR(self.optimizer, factor=1.0)
        return torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            max_lr=self.options.learning_rate or 0.0,
            total_steps=self.options.epochs * self.steps_per_epoch + 1,
            cycle_momentum=False,
        )

    def run_epoch(self) -> EpochRecord:
        """Train on every row once and return what came of it."""
        began = time.perf_counter()
        self.network.train()
        losses = [self._step(rows, generator) for rows, generator in self._batches()]
        self.epoch += 1
        loss = torch.stack(losses).mean().item()
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} in epoch {self.epoch}: lower --learning-rate"
            )
        rate = float(self.scheduler.get_last_lr()[0])
        return EpochRecord(self.epoch, loss, rate, time.perf_counter() - began)

    def _batches(self) -> Iterator[tuple[NDArray[np.int64], torch.Generator]]:
        """Yield the global batches of an epoch: rows in random order, and a generator for each."""
        assert self.options.batch_size is not None
        order = np.random.default_rng([self.options.seed, self.epoch]).permutation(
            len(self.targets)
        )
        for step, (first, last) in enumerate(batch_bounds(len(order), self.options.batch_size)):
            words = np.random.SeedSequence([self.options.seed, self.epoch, step]).generate_state(1)
            yield order[first:last], torch.Generator().manual_seed(int(words[0]))

    def _step(self, rows: NDArray[np.int64], generator: torch.Generator) -> Tensor:
        triplets = draw_triplets(self.targets[rows], generator)
        loss = self.batch_loss(rows, triplets)
        self.optimizer.zero_grad(set_to_none=False)
        loss.backward()
        self._sum_gradients()
        self.optimizer.step()
        self.scheduler.step()
        return loss.detach()

    def batch_loss(self, rows: NDArray[np.int64], triplets: Triplets) -> Tensor:
        """Return the loss of a global batch, the same on every worker.

        `rows` (b,) are rows of the whole training set, `triplets` index them.
        """
        weights = self._pass_weights(triplets, len(rows))
        owner = np.searchsorted(self.starts, rows, side="right") - 1
        own = np.flatnonzero(owner == self.communicator.rank)
        graphs = self.shard.graphs.take(rows[own] - self.shard.start)
        mixed = self.options.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            part = self.network(graphs, weights[:, own].to(self.device))
        by_owner = torch.from_numpy(np.argsort(np.argsort(owner, kind="stable"), kind="stable"))
        embeddings = self.communicator.gather(part, 1)[:, by_owner.to(self.device)]
        passes = [embeddings[min(index, len(weights) - 1)] for index in range(len(triplets))]
        targets = self.targets[rows].to(self.device, embeddings.dtype)
        chosen = [index.to(self.device) for index in triplets]
        return self.loss(
            *(vectors[index] for vectors, index in zip(passes, chosen, strict=True)),
            *(targets[index] for index in chosen),
            margin=self.options.margin,
        )

    def _pass_weights(self, triplets: Triplets, rows: int) -> Tensor:
        """Return (K, b), how often each pass of the batch embeds each row."""
        if self.options.batch_norm == "shared":
            return torch.ones(1, rows)
        return torch.stack([torch.bincount(index, minlength=rows) for index in triplets]).float()

    def _sum_gradients(self) -> None:
        if self.communicator.world_size == 1:
            return
        gradients = [part.grad for part in self.parameters if part.grad is not None]
        total = self.communicator.sum(torch.cat([part.reshape(-1) for part in gradients]))
        for part, summed in zip(
            gradients, total.split([part.numel() for part in gradients]), strict=True
        ):
            part.copy_(summed.view_as(part))

    def state_dict(self) -> dict[str, Any]:
        """Return all that a later `load_state_dict` needs to go on from here."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "epoch": self.epoch,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.epoch = state["epoch"]

    def run(self, report: Callable[[EpochRecord], None]) -> None:
        """Train until `options.epochs` epochs are done, calling `report` after each."""
        while self.epoch < self.options.epochs:
            report(self.run_epoch())


def batch_bounds(rows: int, batch_size: int) -> list[tuple[int, int]]:
    """Return (first, last) of each batch; a last batch too short for a triplet joins the one before.

    Raises ValueError, in one line, if there are not rows enough for one triplet.
    """
    if rows < SMALLEST_BATCH:
        raise ValueError(f"{rows} rows to train on: at least {SMALLEST_BATCH} are needed")
    firsts = list(range(0, rows, batch_size))
    if rows - firsts[-1] < SMALLEST_BATCH and len(firsts) > 1:
        firsts.pop()
    return list(zip(firsts, [*firsts[1:], rows], strict=True))
