"""Which candidates may be on a shortlist, and what keeps the others off it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from emrl_ray.config import ScreenConfig, UserError
from emrl_ray.crystals.elements import MAX_ATOMIC_NUMBER, named_elements

EXCLUDED_BY = "excluded_by"
"""Column of the predictions: the first filter that a row does not pass, null if it passes all."""
ELEMENTS, DOMAIN, KNOWN = "elements", "domain", "known"
"""Names of filters: of elements that are not wanted, crystals outside a model's domain, crystals with a label."""


class FilterWords(NamedTuple):
    """What is said of the candidates of a filter."""

    passed: str
    kept_out: str
    option: str


FILTERS = {
    ELEMENTS: FilterWords("elements allowed", "excluded by their elements", "--exclude-elements"),
    DOMAIN: FilterWords("in the domain", "outside the domain", "--in-domain"),
    KNOWN: FilterWords("not known", "known", "--exclude-known"),
}
"""Filters in the order in which they are asked."""


class ElementFilter(NamedTuple):
    """Which elements the crystals of a shortlist may have."""

    excluded: frozenset[int]
    """Atomic numbers that no crystal may have."""
    only: frozenset[int]
    """Atomic numbers that a crystal may have; empty allows all."""

    def allows(self, atomic_numbers: pa.ChunkedArray) -> NDArray[np.bool_]:
        """Return (B,) whether each crystal, a list of atomic numbers, has allowed elements alone.

        What is not a known element, or null in place of a crystal, is not allowed.
        """
        forbidden = np.zeros(MAX_ATOMIC_NUMBER + 1, bool)
        forbidden[[0, *self.excluded]] = True
        if self.only:
            forbidden[list(set(range(MAX_ATOMIC_NUMBER + 1)) - self.only)] = True
        crystals = pa.concat_arrays(atomic_numbers.chunks)
        numbers = pc.list_flatten(crystals).cast(pa.int64()).fill_null(0).to_numpy()
        known = np.where((numbers >= 0) & (numbers <= MAX_ATOMIC_NUMBER), numbers, 0)
        allowed = crystals.is_valid().to_numpy(zero_copy_only=False).copy()
        allowed[pc.list_parent_indices(crystals).to_numpy()[forbidden[known]]] = False
        return allowed


class Filters(NamedTuple):
    """What a candidate must be to be ranked."""

    elements: ElementFilter
    in_domain: bool
    """In the domain of every model."""
    exclude_known: bool
    """None of the crystals of which the first model has a true value."""

    @classmethod
    def of(cls, config: ScreenConfig) -> Filters:
        """Return the filters that the options ask for; raises UserError as `element_filter` does."""
        elements = element_filter(config.exclude_elements, config.only_elements)
        return cls(elements, config.in_domain, config.exclude_known)

    @property
    def asked_for(self) -> list[str]:
        """Names of the filters that may keep a candidate out, in the order of `FILTERS`."""
        asked = {ELEMENTS: any(self.elements), DOMAIN: self.in_domain, KNOWN: self.exclude_known}
        return [name for name in FILTERS if asked[name]]


def element_filter(excluded: Sequence[str], only: Sequence[str]) -> ElementFilter:
    """Return the filter that the options name by element symbols.

    Raises UserError, in one line, at a symbol that is no element or if no element is left.
    """
    without = frozenset(named_elements(excluded, "exclude-elements"))
    within = frozenset(named_elements(only, "only-elements"))
    if only and set(only) <= set(excluded):
        raise UserError(f"--only-elements {','.join(only)}: all of them are excluded as well")
    return ElementFilter(without, within)


def excluded_by(passed: Mapping[str, NDArray[np.bool_]], rows: int) -> pa.Array:
    """Return the name of the first of `FILTERS` that each row does not pass, null if it passes all.

    `passed` has (rows,) for each filter that is in use.
    """
    index = np.full(rows, -1)
    for number, name in reversed(list(enumerate(FILTERS))):
        if name in passed:
            index[~passed[name]] = number
    names = pa.array(list(FILTERS), pa.string())
    return names.take(pa.array(index, mask=index < 0))
