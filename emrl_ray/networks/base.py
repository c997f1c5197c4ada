"""What an embedding network is made from, and what it offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple, Self

from torch import Tensor, nn

from emrl_ray.features.distance_basis import Basis
from emrl_ray.features.element_properties import Filling
from emrl_ray.features.graphs import Graphs
from emrl_ray.features.representation import GraphRepresentation


class NetworkSpec(NamedTuple):
    """The options that a network may read; each takes those that its own form leaves open."""

    cutoff: float
    """Longest pair distance, Å."""
    width: int = 128
    """Numbers in an embedding."""
    elements: Filling = "mean"
    """Filling of unknown element properties (`features.element_properties`)."""
    basis: Basis = "uniform"
    """Name of the distance basis (`features.distance_basis`)."""

    @classmethod
    def of(cls, options: Any) -> NetworkSpec:
        """Return the specification in a configuration or a model's card, by the names of the fields."""
        return cls(*(getattr(options, name) for name in cls._fields))


class Network(nn.Module, ABC):
    """An embedding network: graphs in, a vector a crystal out."""

    batch_norms: ClassVar[tuple[str, ...]] = ("shared",)
    """The forms of `batch_norm` (`config.OptimizationConfig`) that it can be trained with."""
    cutoff: float
    """Longest pair distance, Å."""
    width: int
    """Numbers in an embedding."""

    @classmethod
    @abstractmethod
    def from_spec(cls, spec: NetworkSpec, elements_csv: bytes) -> Self:
        """Return the untrained network of a specification; its weights follow torch's seed.

        `elements_csv` is a table as of `features.element_properties`.
        """

    def select(self, graphs: Graphs) -> Graphs:
        """Return the graphs with the pairs that the network reads; done once, before training."""
        return graphs

    @abstractmethod
    def forward(self, graphs: Graphs, weights: Tensor) -> Tensor:
        """Return the embeddings (K, B, width) of B crystals with the pairs that `select` leaves.

        In training, pass k takes batch statistics in which crystal b counts `weights[k, b]` times; in
        evaluation there is one pass. Every crystal has a pair.
        """

    @abstractmethod
    def compile(self, threads: int = 1) -> GraphRepresentation:  # type: ignore[override]
        """Return the network in its form for inference, computing with `threads` threads."""
