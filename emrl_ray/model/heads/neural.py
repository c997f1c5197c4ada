"""EMRL-NN: a small network with batch norm, trained in torch, run in numpy."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from emrl_ray.model.heads.holdout import check_rows, hold_out

if TYPE_CHECKING:
    from torch import Tensor, nn

FILE = "head_neural.safetensors"

HIDDEN = (256, 32)
EPOCHS = 500
BATCH_SIZE = 32
LEARNING_RATE = 5e-4
L2 = 1e-5
ADAM_EPSILON = 1e-5
"""Of the batch norms."""
VALIDATION = 0.2
"""Share of the rows that choose the epoch."""
MIN_ROWS = 10
ROWS_AT_ONCE = 512
"""Rows whose first layer, 2 kB each, is held at a time: in a cache of the CPU."""


class FoldedNetwork(NamedTuple):
    """The trained network for inference: its batch norms and the target's scale are folded in.

    target = mean + scale · (w₃ · ReLU(W₂ ReLU(W₁ z + b₁) + b₂) + b₃), computed in float64: the
    order of a sum is the BLAS's own on each kind of CPU, and in float32 it moves predictions by
    more than a part in a million. The names are those of the tensors in the file.
    """

    weight_1: NDArray[np.float32]  # (m, 256)
    bias_1: NDArray[np.float32]  # (256,)
    weight_2: NDArray[np.float32]  # (256, 32)
    bias_2: NDArray[np.float32]  # (32,)
    weight_3: NDArray[np.float32]  # (32,)
    bias_3: NDArray[np.float32]  # (1,)
    mean: NDArray[np.float64]  # (), mean of the training targets
    scale: NDArray[np.float64]  # (), their standard deviation

    def __call__(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return (B,) of embeddings (B, m)."""
        found = np.empty(len(embeddings))
        for start in range(0, len(embeddings), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            found[rows] = self._standardised(embeddings[rows].astype(np.float64))
        return found * self.scale + self.mean

    def _standardised(self, embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (b,) of embeddings (b, m), whose float64 carries over to each layer."""
        first = np.maximum(embeddings @ self.weight_1 + self.bias_1, 0)
        second = np.maximum(first @ self.weight_2 + self.bias_2, 0)
        return second @ self.weight_3 + self.bias_3


class Trained(NamedTuple):
    """What training leaves: the network of the best epoch, in evaluation mode."""

    network: nn.Sequential
    epoch: int
    """Passes over the training rows after which the network was best."""
    errors: list[float]
    """Validation MAE after each pass, in the unit of the targets given."""


class NeuralHead:
    """The network 256-32-1 with batch norm, L1 loss and Adam; the best of 500 epochs is kept."""

    def __init__(self, seed: int = 0, threads: int = 1) -> None:
        """Make an unfitted head; `threads` are those of torch during the fit."""
        self._seed = seed
        self._threads = threads
        self._network: FoldedNetwork | None = None
        self._epoch = 0

    def fit(self, embeddings: NDArray[np.float32], targets: NDArray[np.float64]) -> None:
        """Fit to embeddings (n, m) and targets (n,), n ≥ 10; 20 % of the rows choose the epoch."""
        check_rows("neural", embeddings, targets, MIN_ROWS)
        mean, scale = targets.mean(), targets.std()
        standardised = (targets - mean) / (scale or 1.0)
        kept, held = hold_out(len(targets), VALIDATION, self._seed)
        with _torch_state(self._seed, self._threads):
            trained = train_network(
                (embeddings[kept], standardised[kept]),
                (embeddings[held], standardised[held]),
                EPOCHS,
            )
        self._network = fold(trained.network, float(mean), float(scale))
        self._epoch = trained.epoch

    def predict(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return (B,), without torch."""
        assert self._network is not None, "fit or load the head first"
        return self._network(embeddings.astype(np.float32, copy=False))

    @property
    def chosen(self) -> dict[str, int]:
        """The epoch whose weights were kept."""
        return {"epoch": self._epoch}

    def save(self, folder: pathlib.Path) -> None:
        """Write `head_neural.safetensors`."""
        assert self._network is not None, "fit the head first"
        save_file(self._network._asdict() | {"epoch": np.array(self._epoch)}, folder / FILE)

    @classmethod
    def load(cls, folder: pathlib.Path, threads: int = 1) -> Self:
        """Return the head that `save` left in `folder`."""
        tensors = load_file(folder / FILE)
        head = cls(threads=threads)
        head._epoch = int(tensors.pop("epoch"))
        head._network = FoldedNetwork(**tensors)
        return head


@contextmanager
def _torch_state(seed: int, threads: int) -> Iterator[None]:
    """Seed torch and pin its threads, and leave both as they were found."""
    import torch

    threads_before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads_before)


def train_network(
    training: tuple[NDArray[np.float32], NDArray[np.float64]],
    validation: tuple[NDArray[np.float32], NDArray[np.float64]],
    epochs: int,
) -> Trained:
    """Train on (embeddings, targets) and return the network of the epoch with the best validation MAE.

    Draws from torch's global generator.
    """
    import torch
    from torch.nn.functional import l1_loss

    (rows, targets), (held_rows, held_targets) = (
        (torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None])
        for x, y in (training, validation)
    )
    network = _build(rows.shape[1])
    optimizer = torch.optim.Adam(
        network.parameters(), lr=LEARNING_RATE, weight_decay=L2, fused=True
    )
    errors: list[float] = []
    best_epoch, best_state = 0, {}
    for epoch in range(1, epochs + 1):
        network.train()
        for batch in batches(torch.randperm(len(rows))):
            optimizer.zero_grad()
            l1_loss(network(rows[batch]), targets[batch]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            errors.append(l1_loss(network(held_rows), held_targets).item())
        if errors[-1] == min(errors):
            best_epoch = epoch
            best_state = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(best_state)
    return Trained(network, best_epoch, errors)


def _build(width: int) -> nn.Sequential:
    import torch
    from torch import nn

    first, second = HIDDEN
    layers = nn.Sequential(
        nn.Linear(width, first),
        nn.BatchNorm1d(first, eps=ADAM_EPSILON),
        nn.ReLU(),
        nn.Linear(first, second),
        nn.BatchNorm1d(second, eps=ADAM_EPSILON),
        nn.ReLU(),
        nn.Linear(second, 1),
    )
    return layers.to(torch.float32)


def batches(order: Tensor) -> list[Tensor]:
    """Return `order` in batches of 32; a last batch of one, which has no variance, joins the one before."""
    parts = list(order.split(BATCH_SIZE))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [order[-BATCH_SIZE - 1 :]]
    return parts


def fold(network: nn.Sequential, mean: float, scale: float) -> FoldedNetwork:
    """Return the network with each batch norm folded, in float64, into the layer before it."""
    state = {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}
    weight_1, bias_1 = _fold_norm(state, layer=0, norm=1)
    weight_2, bias_2 = _fold_norm(state, layer=3, norm=4)
    return FoldedNetwork(
        weight_1=weight_1,
        bias_1=bias_1,
        weight_2=weight_2,
        bias_2=bias_2,
        weight_3=state["6.weight"][0].astype(np.float32),
        bias_3=state["6.bias"].astype(np.float32),
        mean=np.array(mean),
        scale=np.array(scale),
    )


def _fold_norm(
    state: dict[str, NDArray[np.float64]], layer: int, norm: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weight (in, out) and bias (out,) of `norm(layer(x))`, given by their positions."""
    gain = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + ADAM_EPSILON)
    shift = state[f"{layer}.bias"] - state[f"{norm}.running_mean"]
    weight = np.ascontiguousarray(state[f"{layer}.weight"].T * gain)
    return weight.astype(np.float32), (shift * gain + state[f"{norm}.bias"]).astype(np.float32)
