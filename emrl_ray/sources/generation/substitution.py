"""Candidates from known crystals whose ions are replaced by likely ones."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.crystals.elements import reduced_formula
from emrl_ray.crystals.schema import Reject
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.sources.generation.base import CompositionLimits, GeneratedBatch
from emrl_ray.sources.generation.parents import Parents, read_parents
from emrl_ray.sources.generation.substitution_probabilities import (
    Replacements,
    ion_table,
    replacements,
)

KIND = "substitution"


@dataclass(frozen=True)
class Substitutions:
    """Every parent's likeliest replacement first, then every parent's second, and so on.

    Sites and shape of the cell are the parent's; its volume is scaled as bonds would be whose lengths
    are sums of radii (see `Parents.size`).
    """

    parents: Parents
    rejects: list[Reject]
    choices: list[Replacements]
    """The replacements of each distinct set of ions."""
    choice: NDArray[np.int64]
    """(P,) which of `choices` are a parent's."""
    order: NDArray[np.int64]
    """(P,) the parents, those with most replacements first."""
    starts: NDArray[np.int64]
    """(ranks + 1,) number of the first candidate of each rank."""

    @classmethod
    def of(
        cls, uri: str, composable: CompositionLimits, threshold: float, limits: ValidationLimits
    ) -> Self:
        """Return the candidates from a crystals table with probabilities of `threshold` or more."""
        parents, rejects = read_parents(uri, limits)
        table = ion_table()
        places: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
        choices: list[Replacements] = []
        choice = np.empty(len(parents.ids), np.int64)
        for parent, key in enumerate(zip(parents.kinds, parents.amounts, strict=True)):
            if key not in places:
                places[key] = len(choices)
                choices.append(replacements(table, *key, composable.elements, threshold))
            choice[parent] = places[key]
        counts = np.array([len(each.probability) for each in choices], np.int64)[choice]
        n_elements = np.array([len(kinds) for kinds in parents.kinds], np.int64)
        counts[n_elements > composable.max_elements] = 0
        descending = np.argsort(-counts, kind="stable")
        widths = np.searchsorted(-counts[descending], -np.arange(counts.max(initial=0)))
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(widths)])
        return cls(parents, rejects, choices, choice, descending, starts)

    @property
    def combinations(self) -> int:
        """Parents with replacements of their ions."""
        return int(self.starts[-1])

    @property
    def total(self) -> int:
        """As many as there are combinations."""
        return self.combinations

    @property
    def parents_read(self) -> int:
        """Rows of the table of parents."""
        return len(self.parents.ids) + len(self.rejects)

    def make(self, numbers: NDArray[np.int64]) -> GeneratedBatch:
        """Return the candidates of `numbers` (B,)."""
        rank = np.searchsorted(self.starts, numbers, side="right") - 1
        parent = self.order[numbers - self.starts[rank]]
        picked = [self.choices[place] for place in self.choice[parent]]
        new = [each.ions[row] for each, row in zip(picked, rank, strict=True)]
        probability = [each.probability[row] for each, row in zip(picked, rank, strict=True)]
        table, batch = ion_table(), self.parents.batch.take(parent)
        padded = np.zeros((len(numbers), self.parents.size.shape[1]), np.int64)
        for row, ions in enumerate(new):
            padded[row, : len(ions)] = ions
        sites = np.concatenate([np.zeros(0, np.uint8), *map(self._site_kinds, parent.tolist())])
        ion = padded[np.repeat(np.arange(len(numbers)), batch.n_atoms), sites]
        length = (self.parents.size[parent] * table.radii[padded]).sum(axis=1)
        crystals = batch._replace(
            lattice=batch.lattice * length[:, None, None], atomic_numbers=table.atomic_numbers[ion]
        )
        columns = {
            "parent_id": pa.array([self.parents.ids[row] for row in parent], pa.string()),
            "substitution": pa.array(map(self._substitution, parent, new), pa.string()),
            "probability": pa.array(probability, pa.float64()),
        }
        formulas = [
            reduced_formula(crystals.atomic_numbers[start:stop])
            for start, stop in pairwise(crystals.offsets)
        ]
        return GeneratedBatch(
            crystals, table.charges[ion], [KIND] * len(numbers), formulas, columns
        )

    def _site_kinds(self, parent: int) -> NDArray[np.uint8]:
        return self.parents.site_kinds[slice(*self.parents.batch.offsets[parent : parent + 2])]

    def _substitution(self, parent: int, new: NDArray[np.int16]) -> str:
        """Return what was replaced by what, such as "K+ > Na+, I- > Br-"."""
        table = ion_table()
        return ", ".join(
            f"{table.name(before)} > {table.name(int(after))}"
            for before, after in zip(self.parents.kinds[parent], new, strict=True)
            if before != after
        )
