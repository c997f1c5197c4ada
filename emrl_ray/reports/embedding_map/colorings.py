"""How the rows of a table are coloured by one of its columns: along a scale or by kind."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.crystals.composition import CLASSES
from emrl_ray.crystals.schema import float_column
from emrl_ray.crystals.units import column_metadata

NO_VALUE = "#d0d0d0"
"""Colour of rows without a value."""
OTHERS, NONE = "others", "none"
"""Kinds that did not fit the palette, and rows without a value."""
PALETTE = (
    *("#009e73", "#d55e00", "#e69f00", "#cc79a7", "#0072b2"),
    *("#56b4e9", "#f0e442", "#000000", "#999999"),
)
"""Colours that the colour-blind can tell apart (Okabe and Ito 2008), the last for what is left over."""
OUTLIERS = 1.0
"""Per cent of the rows at either end that do not stretch a scale."""
LABELS = {
    "class": "composition class",
    "metal_content": "metal content (fraction of atoms)",
}
"""What is written beside the columns that are computed here; others go by name and unit."""


class ColorScale(NamedTuple):
    """Rows coloured by a number."""

    label: str
    """Name and unit."""
    values: NDArray[np.float64]
    """(N,) NaN where a row has no value."""
    low: float
    """Value of the first colour; smaller ones have it too."""
    high: float
    """Value of the last colour; larger ones have it too."""
    colors: str
    """Name of a colour map that matplotlib and plotly share, readable by the colour-blind."""


class Categories(NamedTuple):
    """Rows coloured by what they are."""

    label: str
    codes: NDArray[np.int64]
    """(N,) index of the row's kind in `names`."""
    names: list[str]
    """The kinds, none of them empty."""
    colors: list[str]
    """A colour a kind."""


def coloring(table: pa.Table, column: str) -> ColorScale | Categories:
    """Return how `column` (numbers, text or true and false) colours the rows of a table."""
    field = table.schema.field(column)
    unit = column_metadata(field).unit
    label = LABELS.get(column) or column.replace("_", " ") + (f" ({unit})" if unit else "")
    if not is_number(field.type):
        texts = table.column(column).cast(pa.string()).to_pylist()
        return _kinds(label, texts, CLASSES if column == "class" else None)
    values = float_column(table, column)
    values = np.where(np.isfinite(values), values, np.nan)
    known = values[~np.isnan(values)]
    low, high = np.percentile(known, (OUTLIERS, 100 - OUTLIERS)) if len(known) else (0.0, 1.0)
    if low == high:
        low, high = known.min(), max(known.max(), low + 1)
    colors = "Cividis" if column == "metal_content" else "Viridis"
    return ColorScale(label, values, float(low), float(high), colors)


def is_number(kind: pa.DataType) -> bool:
    """Return whether values of an Arrow type are numbers."""
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def _kinds(label: str, texts: list[str | None], order: tuple[str, ...] | None) -> Categories:
    """Return rows coloured by a text each; in `order`, else the most frequent first.

    An order has a colour for each of its names, present or not; without one, what does not fit
    the palette is together "others".
    """
    counts = Counter(text for text in texts if text is not None)
    ranked = order or tuple(sorted(counts, key=lambda text: (-counts[text], text)))
    last = len(PALETTE) - 1
    if len(ranked) > last:
        shown = dict(zip(ranked, PALETTE[:last], strict=False))
    else:
        shown = dict(zip(ranked, PALETTE, strict=False))
    if order:
        shown[order[-1]] = PALETTE[-1]
    names = [NONE if text is None else text if text in shown else OTHERS for text in texts]
    colors = {**shown, OTHERS: PALETTE[-1], NONE: NO_VALUE}
    present = [name for name in colors if name in set(names)]
    codes = np.array([present.index(name) for name in names], np.int64)
    return Categories(label, codes, present, [colors[name] for name in present])
