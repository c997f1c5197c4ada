"""The training loop of an embedding network; it knows neither Ray nor files.

A step takes a global batch of rows, of which each worker embeds its own; batch statistics and the
embeddings themselves are shared, so that every worker computes the same loss over the same
triplets, and what is learned does not depend on how many workers there are. Whatever is random
follows from (seed, epoch, step) alone, so a restored state goes on as if nothing had happened.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emrl_ray.config import NetworkConfig, OptimizationConfig
from emrl_ray.config.errors import UserError
from emrl_ray.features.graphs import Graphs
from emrl_ray.networks import network_type
from emrl_ray.networks.base import Network, NetworkSpec
from emrl_ray.networks.layers.batch_norm import WeightedBatchNorm
from emrl_ray.networks.layers.collectives import Communicator
from emrl_ray.training.losses import Outputs, Triplets, draw_triplets, loss_function

SMALLEST_BATCH = 3
"""A triplet needs three rows."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}


class Shard(NamedTuple):
    """The rows of the training set that one worker holds: rows `start`, `start + 1`, ..."""

    graphs: Graphs
    """Their n graphs, with the pairs that the network's `select` leaves; files may be mapped there."""
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


class Readout(NamedTuple):
    """The linear layer from an embedding to the target that was trained with the network."""

    slope: NDArray[np.float64]
    """(m,) in the target's unit."""
    intercept: float
    """In the target's unit."""


class TrainedNetwork(NamedTuple):
    """A network at the end of its training."""

    state: Mapping[str, NDArray]
    """Arrays of its `state_dict` by name."""
    readout: Readout | None
    """The output layer, of a loss that trains one."""
    curve: list[dict[str, float]]
    """Loss and learning rate of each epoch."""


def make_network(options: NetworkConfig, elements_csv: bytes, seed: int) -> Network:
    """Return the untrained network of a configuration; its weights follow from the seed."""
    torch.manual_seed(seed)
    return network_type(options.network).from_spec(NetworkSpec.of(options), elements_csv)


class Trainer:
    """An embedding network in training, on one worker of several that share each batch."""

    def __init__(
        self,
        network: Network,
        shard: Shard,
        options: OptimizationConfig,
        communicator: Communicator,
        device: torch.device | str = "cpu",
    ) -> None:
        """Prepare a training of `options.epochs` epochs; margin, rates and batch size must be set."""
        assert options.batch_size is not None
        assert options.learning_rate is not None
        assert options.l2 is not None
        self.loss = loss_function(options.loss)
        self.network = network.to(device, DTYPES[options.precision])
        self.readout = nn.Linear(network.width, 1).to(device, DTYPES[options.precision])
        self.shard = shard
        self.options, self.communicator = options, communicator
        self.device = torch.device(device)
        for module in self.network.modules():
            if isinstance(module, WeightedBatchNorm):
                module.communicator = communicator
        self.targets = self.gathered(shard.targets)
        self.mean, self.deviation = self.targets.mean(), self.targets.std(correction=0)
        self.starts = self.gathered(np.array([shard.start])).numpy()
        self.n_pairs = self.gathered(self.shard.graphs.pairs.n_pairs).numpy()
        trained = [self.network, self.readout] if self.loss.readout else [self.network]
        self.parameters = [
            part for module in trained for part in module.parameters() if part.requires_grad
        ]
        for part in self.parameters:  # zero on a worker that has no rows of a batch
            part.grad = torch.zeros_like(part)
        self.optimizer = torch.optim.Adam(
            self.parameters, lr=options.learning_rate, weight_decay=options.l2
        )
        self.epoch = 0
        self.losses: list[Tensor] = []  # of the steps done of the epoch under way
        self.scheduler = self._make_schedule()

    def gathered(self, values: NDArray) -> Tensor:
        """Return the values (n, ...) of all workers' rows, on the CPU."""
        return self.communicator.gather(torch.tensor(values, device=self.device), 0).cpu()

    def _make_schedule(self) -> torch.optim.lr_scheduler.LRScheduler:
        if self.options.schedule == "constant":
            return torch.optim.lr_scheduler.ConstantLR(self.optimizer, factor=1.0)
        return torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            max_lr=self.options.learning_rate or 0.0,
            total_steps=self._total_steps() + 1,
            cycle_momentum=False,
        )

    def _total_steps(self) -> int:
        epochs = range(self.options.epochs)
        if self.options.batch_pairs is None:  # each epoch has as many
            return len(epochs) * len(self._plan(0))
        return sum(len(self._plan(epoch)) for epoch in epochs)

    def run_epoch(self, after_step: Callable[[], None] = lambda: None) -> EpochRecord:
        """Train on every row once, or finish the epoch under way, and return what came of it."""
        began = time.perf_counter()
        self.network.train()
        for rows, generator in self._batches():
            self.losses.append(self._step(rows, generator))
            after_step()
        loss = torch.stack(self.losses).mean().item()
        self.epoch, self.losses = self.epoch + 1, []
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} in epoch {self.epoch}: lower --learning-rate"
            )
        rate = float(self.scheduler.get_last_lr()[0])
        return EpochRecord(self.epoch, loss, rate, time.perf_counter() - began)

    def _plan(self, epoch: int) -> list[NDArray[np.int64]]:
        """Return the rows of each global batch of an epoch, in random order."""
        options = self.options
        assert options.batch_size is not None
        order = np.random.default_rng([options.seed, epoch]).permutation(len(self.targets))
        sizes = None if options.batch_pairs is None else self.n_pairs[order]
        bounds = batch_bounds(len(order), options.batch_size, sizes, options.batch_pairs or 0)
        return [order[first:last] for first, last in bounds]

    def _batches(self) -> Iterator[tuple[NDArray[np.int64], torch.Generator]]:
        """Yield the global batches of an epoch that are not done, and a generator for each."""
        plan = self._plan(self.epoch)
        for step in range(len(self.losses), len(plan)):
            words = np.random.SeedSequence([self.options.seed, self.epoch, step]).generate_state(1)
            yield plan[step], torch.Generator().manual_seed(int(words[0]))

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
            predicted = self.readout(part[0]) if self.loss.readout else part.new_zeros(len(own), 1)
        part = torch.cat([part, predicted.expand(len(part), -1, -1)], dim=-1)
        by_owner = torch.from_numpy(np.argsort(np.argsort(owner, kind="stable"), kind="stable"))
        found = self.communicator.gather(part, 1)[:, by_owner.to(self.device)]
        embeddings = found[..., :-1]
        last = len(embeddings) - 1
        targets = self.targets[rows].to(self.device, embeddings.dtype)
        outputs = Outputs(
            passes=(embeddings[0], embeddings[min(1, last)], embeddings[min(2, last)]),
            predictions=found[0, :, -1],
            targets=targets,
            deviations=(targets - self.mean) / (self.deviation or 1.0),
            triplets=Triplets(*(index.to(self.device) for index in triplets)),
        )
        return self.loss.function(outputs, self.options.margin or 0.0)

    def _pass_weights(self, triplets: Triplets, rows: int) -> Tensor:
        """Return (K, b), how often each pass of the batch embeds each row."""
        if self.options.batch_norm == "shared":
            return torch.ones(1, rows)
        return torch.stack([torch.bincount(index, minlength=rows) for index in triplets]).float()

    def _sum_gradients(self) -> None:
        if self.communicator.world_size == 1:
            return
        gradients = [part.grad for part in self.parameters if part.grad is not None]  # all
        total = self.communicator.sum(torch.cat([part.reshape(-1) for part in gradients]))
        for part, summed in zip(
            gradients, total.split([part.numel() for part in gradients]), strict=True
        ):
            part.copy_(summed.view_as(part))

    def state_dict(self) -> dict[str, Any]:
        """Return all that a later `load_state_dict` needs to go on from here."""
        return {
            "network": self.network.state_dict(),
            "readout": self.readout.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "epoch": self.epoch,
            "losses": torch.stack(self.losses) if self.losses else torch.zeros(0),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        self.network.load_state_dict(state["network"])
        self.readout.load_state_dict(state["readout"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.epoch = state["epoch"]
        self.losses = list(state["losses"].to(self.device))

    def run(
        self,
        after_epoch: Callable[[EpochRecord], None],
        after_step: Callable[[], None] = lambda: None,
    ) -> None:
        """Train until `options.epochs` epochs are done; the state may be taken after any step."""
        while self.epoch < self.options.epochs:
            after_epoch(self.run_epoch(after_step))

    def trained(self, curve: list[dict[str, float]]) -> TrainedNetwork:
        """Return the network as it is now, float32 on the CPU, with the course of its training."""
        state = {
            name: value.float().numpy(force=True)
            for name, value in self.network.state_dict().items()
        }
        return TrainedNetwork(state, self._readout_in_unit() if self.loss.readout else None, curve)

    def _readout_in_unit(self) -> Readout:
        deviation, mean = float(self.deviation), float(self.mean)
        slope = self.readout.weight[0].double().numpy(force=True) * deviation
        return Readout(slope, float(self.readout.bias[0].detach()) * deviation + mean)


def batch_bounds(
    rows: int, batch_size: int, sizes: NDArray[np.int64] | None = None, most: int = 0
) -> list[tuple[int, int]]:
    """Return (first, last) of each batch; a last batch too short for a triplet joins the one before.

    With `sizes` (rows,) a batch also ends before its sizes add up to more than `most`, but not before
    it has rows for a triplet. Raises UserError, in one line, if there are not rows enough for one.
    """
    if rows < SMALLEST_BATCH:
        raise UserError(f"{rows} rows to train on: at least {SMALLEST_BATCH} are needed")
    firsts = list(range(0, rows, batch_size))
    if sizes is not None:
        firsts = _firsts_within(sizes, batch_size, most)
    if rows - firsts[-1] < SMALLEST_BATCH and len(firsts) > 1:
        firsts.pop()
    return list(zip(firsts, [*firsts[1:], rows], strict=True))


def _firsts_within(sizes: NDArray[np.int64], batch_size: int, most: int) -> list[int]:
    firsts, held, total = [0], 0, 0
    for row, size in enumerate(sizes.tolist()):
        if held == batch_size or (held >= SMALLEST_BATCH and total + size > most):
            firsts.append(row)
            held, total = 0, 0
        held, total = held + 1, total + size
    return firsts
