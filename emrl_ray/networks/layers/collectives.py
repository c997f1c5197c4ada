"""Sums over the workers of a data parallel training, differentiable."""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor


class Communicator(Protocol):
    """What training and batch norm ask of the workers that share a batch."""

    rank: int
    world_size: int

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum over all workers, the same on each; no gradient flows."""

    def gather(self, tensor: Tensor, dim: int) -> Tensor:
        """Return the workers' tensors joined along `dim` by rank; sizes there may differ.

        The gradient of a worker's own part is its partition of the gradient: every worker computes the
        same loss from the whole.
        """


class SingleProcess:
    """One worker: every sum is the tensor itself."""

    rank = 0
    world_size = 1

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the tensor."""
        return tensor

    def gather(self, tensor: Tensor, dim: int) -> Tensor:
        """Return the tensor."""
        return tensor


class ProcessGroup:
    """The workers of the default `torch.distributed` process group (gloo or NCCL)."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum over all workers."""
        total = tensor.detach().clone()
        dist.all_reduce(total)
        return total

    def gather(self, tensor: Tensor, dim: int) -> Tensor:
        """Return the workers' tensors joined along `dim` by rank."""
        sizes = torch.zeros(self.world_size, dtype=torch.int64, device=tensor.device)
        sizes[self.rank] = tensor.shape[dim]
        dist.all_reduce(sizes)
        return _Gather.apply(tensor.movedim(dim, 0), sizes.tolist(), self.rank).movedim(0, dim)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, sizes: list[int], rank: int) -> Tensor:
        ctx.own = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        padded = tensor.new_zeros((max(sizes), *tensor.shape[1:]))
        padded[: tensor.shape[0]] = tensor
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0][ctx.own], None, None


class SumOverWorkers(torch.autograd.Function):
    """`communicator.sum` with its gradient, the sum of the workers' gradients."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, communicator: Communicator) -> Tensor:
        """Return the sum over all workers."""
        ctx.communicator = communicator
        return communicator.sum(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the sum of the gradients over all workers."""
        return ctx.communicator.sum(gradients[0]), None
