"""What a page says of a whole library: counts from its predictions, file by file.

What is held in memory is counts, bins and a sample, however many rows there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.crystals.schema import KNOWN_ID, float_column
from emrl_ray.io.concurrent import map_concurrently
from emrl_ray.io.paths import Location
from emrl_ray.screening.domain_counts import DomainCounts, count_domain, verdict
from emrl_ray.screening.prediction_files import batches

SAMPLE_ROWS = 20_000
"""Rows of the sample that tells where bins begin and end."""
TAIL, REACH = 0.001, 0.15
"""Share of the sample at either end that does not stretch the bins, beyond so much of their span."""
BINS = 60
"""Most bins of the histogram."""
MAP_BINS = 90
"""Bins along either side of the map."""


class Bins(NamedTuple):
    """Where the bins of a summary begin and end."""

    prediction: NDArray[np.float64]
    """(B + 1,) ascending, in the target's unit."""
    map_x: NDArray[np.float64] | None
    """(`MAP_BINS` + 1,) ascending; None where rows have no place on a map."""
    map_y: NDArray[np.float64] | None


class LibrarySummary(NamedTuple):
    """Counts of the rows of a library."""

    bins: Bins
    rows: int
    """All rows with a prediction, or without a number in its place."""
    in_domain: NDArray[np.int64]
    """(B,) rows by prediction that are in domain, or that nothing is known of."""
    out_of_domain: NDArray[np.int64]
    """(B,) rows by prediction that are out of domain."""
    beyond: tuple[int, int]
    """Rows whose prediction is below the first bin, and above the last."""
    in_window: tuple[int, int]
    """Rows whose prediction lies in the window, and those of them that are not out of domain."""
    density: NDArray[np.int64]
    """(`MAP_BINS`, `MAP_BINS`) rows by place on the map, x first."""
    inside: int
    """Rows that are in the domain of every model."""
    outside: int
    """Rows that are out of the domain of a model or more; what is neither is not known."""
    domains: tuple[DomainCounts, ...]
    """What each model says."""
    known: int
    """Rows that are known crystals."""

    @property
    def judged(self) -> int:
        """Rows of which is known whether they are in the domain of every model."""
        return self.inside + self.outside

    def __add__(self, other: object) -> LibrarySummary:
        """Return the sums of both, whose bins are the same."""
        if not isinstance(other, LibrarySummary):
            return NotImplemented
        return LibrarySummary(
            self.bins,
            self.rows + other.rows,
            self.in_domain + other.in_domain,
            self.out_of_domain + other.out_of_domain,
            (self.beyond[0] + other.beyond[0], self.beyond[1] + other.beyond[1]),
            (self.in_window[0] + other.in_window[0], self.in_window[1] + other.in_window[1]),
            self.density + other.density,
            self.inside + other.inside,
            self.outside + other.outside,
            tuple(map(DomainCounts.__add__, self.domains, other.domains)),
            self.known + other.known,
        )


def summarize_library(
    files: Sequence[Location], window: tuple[float, float] | None, endings: Sequence[str] = ("",)
) -> LibrarySummary | None:
    """Return the summary of one or more prediction files; None without a row that has a number.

    `endings` are those of the columns of each model. Raises UserError, in one line, at a damaged file.
    Files are read twice, a few columns of them: for the sample that places the bins, and to count.
    """
    if not files:
        return None
    store = files[0].filesystem
    samples = map_concurrently(_sample, list(enumerate(files)), store)
    sample = reduce(_smaller_keys, samples, np.zeros((4, 0)))
    bins = _bins(sample[1:])
    if bins is None:
        return None
    counted = map_concurrently(lambda file: _count_file(file, bins, window, endings), files, store)
    return reduce(LibrarySummary.__add__, counted)


def _sample(numbered: tuple[int, Location]) -> NDArray[np.float64]:
    """Return a random sample (4, n) of a file's rows: random keys, predictions, places x and y."""
    number, file = numbered
    random = np.random.default_rng(number)
    kept = np.zeros((4, 0))
    for batch in batches(file, ("prediction", "map_x", "map_y")):
        values = [float_column(batch, name) for name in ("prediction", "map_x", "map_y")]
        kept = _smaller_keys(kept, np.stack([random.random(batch.num_rows), *values]))
    return kept


def _smaller_keys(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the `SAMPLE_ROWS` columns of both whose first numbers are the smallest."""
    both = np.concatenate([one, other], axis=1)
    if both.shape[1] <= SAMPLE_ROWS:
        return both
    return both[:, np.argpartition(both[0], SAMPLE_ROWS)[:SAMPLE_ROWS]]


def _bins(sample: NDArray[np.float64]) -> Bins | None:
    """Return the bins that hold a sample (3, n) of predictions and places but for its far tails."""
    ends = _ends(sample[0])
    if ends is None:
        return None
    step = nice_step(ends[1] - ends[0], BINS)
    edges = np.arange(np.floor(ends[0] / step), np.ceil(ends[1] / step) + 1) * step
    sides = [_ends(values) for values in sample[1:]]
    x, y = (None if side is None else np.linspace(*side, MAP_BINS + 1) for side in sides)
    return Bins(edges, x, y) if x is not None and y is not None else Bins(edges, None, None)


def _ends(values: NDArray[np.float64]) -> tuple[float, float] | None:
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = np.quantile(values, (TAIL, 1 - TAIL))
    reach = REACH * (high - low)
    low, high = max(values.min(), low - reach), min(values.max(), high + reach)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        half = 0.5 * max(1.0, abs(float(low)) * 1e-3)
        return float(low) - half, float(high) + half
    return float(low), float(high)


def _count_file(
    file: Location, bins: Bins, window: tuple[float, float] | None, endings: Sequence[str]
) -> LibrarySummary:
    names = ["prediction", "map_x", "map_y", KNOWN_ID]
    for ending in endings:
        names += [f"in_domain{ending}", f"domain_reason{ending}"]
    counted = (count_rows(batch, bins, window, endings) for batch in batches(file, names))
    nothing = count_rows(_no_rows(), bins, window, endings)
    return reduce(LibrarySummary.__add__, counted, nothing)


def _no_rows() -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"prediction": pa.array([], pa.float64())})


def count_rows(
    batch: pa.RecordBatch,
    bins: Bins,
    window: tuple[float, float] | None,
    endings: Sequence[str],
) -> LibrarySummary:
    """Return the summary of a batch of predictions."""
    prediction, edges = float_column(batch, "prediction"), bins.prediction
    inside, outside = verdict(batch, endings)
    low, high = window or (np.nan, np.nan)
    within = (prediction >= low) & (prediction <= high)
    density = np.zeros((MAP_BINS, MAP_BINS), np.int64)
    if bins.map_x is not None and bins.map_y is not None:
        x, y = (float_column(batch, name) for name in ("map_x", "map_y"))
        density = np.histogram2d(x, y, (bins.map_x, bins.map_y))[0].astype(np.int64)
    has_known = KNOWN_ID in batch.schema.names
    return LibrarySummary(
        bins,
        batch.num_rows,
        np.histogram(prediction[~outside], edges)[0],
        np.histogram(prediction[outside], edges)[0],
        (int((prediction < edges[0]).sum()), int((prediction > edges[-1]).sum())),
        (int(within.sum()), int((within & ~outside).sum())),
        density,
        int(inside.sum()),
        int(outside.sum()),
        tuple(count_domain(batch, ending) for ending in endings),
        batch.num_rows - batch.column(KNOWN_ID).null_count if has_known else 0,
    )


def nice_step(span: float, count: int) -> float:
    """Return a step of 1, 2 or 5 times a power of ten that goes at most `count` times into `span`."""
    least = span / count
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= least * (1 - 1e-9))
