"""What a page says of a whole library: counts from its predictions, file by file.

What is held in memory is counts, bins and a sample, however many rows there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from emrl_ray.crystals.storage import Location
from emrl_ray.reporting.run_page.axes import nice_step
from emrl_ray.screening.shortlist import FILES_AT_ONCE, READERS

S = TypeVar("S")
T = TypeVar("T")

BATCH_ROWS = 1 << 16
SAMPLE_ROWS = 20_000
"""Rows of the sample that tells where bins begin and end."""
TAIL, REACH = 0.001, 0.15
"""Share of the sample at either end that does not stretch the bins, beyond so much of their span."""
BINS = 60
"""Most bins of the histogram."""
MAP_BINS = 90
"""Bins along either side of the map."""
NAMED = ("unseen_element", "unseen_pair")
"""Codes of `domain_reason` whose second word is counted too: there are few of these words."""


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
    judged: int
    """Rows of which is known whether they are in domain."""
    reasons: Counter[str]
    """Rows out of domain by the code of the reason."""
    details: Counter[tuple[str, str]]
    """Rows out of domain by code and second word, for the codes in `NAMED`."""
    known: int
    """Rows that are known crystals."""

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
            self.judged + other.judged,
            self.reasons + other.reasons,
            self.details + other.details,
            self.known + other.known,
        )


def summarize_library(
    files: Sequence[Location], window: tuple[float, float] | None
) -> LibrarySummary | None:
    """Return the summary of one or more prediction files; None without a row that has a number.

    Files are read twice, a few columns of them: for the sample that places the bins, and to count.
    """
    samples = _each(_sample, list(enumerate(files)))
    sample = reduce(_smaller_keys, samples, np.zeros((4, 0)))
    bins = _bins(sample[1:])
    if bins is None:
        return None
    counted = _each(lambda file: _count_file(file, bins, window), files)
    return reduce(LibrarySummary.__add__, counted)


def _each(work: Callable[[S], T], things: Sequence[S]) -> Iterator[T]:
    """Yield what `work` makes of each thing, in order; several are worked on, few are waiting."""
    with ThreadPoolExecutor(READERS) as readers:
        for first in range(0, len(things), FILES_AT_ONCE):
            yield from readers.map(work, things[first : first + FILES_AT_ONCE])


def _batches(file: Location, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield those of `columns` that a file has, in batches."""
    with pq.ParquetFile(file.path, filesystem=file.filesystem) as parquet:
        names = [name for name in columns if name in parquet.schema_arrow.names]
        yield from parquet.iter_batches(BATCH_ROWS, columns=names, use_threads=False)


def _numbers(batch: pa.RecordBatch, column: str) -> NDArray[np.float64]:
    """Return a column of a batch, NaN for null and where there is no such column."""
    if column not in batch.schema.names:
        return np.full(batch.num_rows, np.nan)
    return batch.column(column).cast(pa.float64()).to_numpy(zero_copy_only=False)


def _sample(numbered: tuple[int, Location]) -> NDArray[np.float64]:
    """Return a random sample (4, n) of a file's rows: random keys, predictions, places x and y."""
    number, file = numbered
    random = np.random.default_rng(number)
    kept = np.zeros((4, 0))
    for batch in _batches(file, ("prediction", "map_x", "map_y")):
        values = [_numbers(batch, name) for name in ("prediction", "map_x", "map_y")]
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


COUNTED = ("prediction", "map_x", "map_y", "in_domain", "domain_reason", "known_id")


def _count_file(file: Location, bins: Bins, window: tuple[float, float] | None) -> LibrarySummary:
    n_bins, nothing = len(bins.prediction) - 1, (0, 0)
    counts = LibrarySummary(
        *(bins, 0, np.zeros(n_bins, np.int64), np.zeros(n_bins, np.int64), nothing, nothing),
        *(np.zeros((MAP_BINS, MAP_BINS), np.int64), 0, Counter(), Counter(), 0),
    )
    for batch in _batches(file, COUNTED):
        counts += count_rows(batch, bins, window)
    return counts


def count_rows(
    batch: pa.RecordBatch, bins: Bins, window: tuple[float, float] | None
) -> LibrarySummary:
    """Return the summary of a batch of predictions."""
    prediction = _numbers(batch, "prediction")
    judged, outside = _domain(batch)
    edges = bins.prediction
    low, high = window or (np.nan, np.nan)
    within = (prediction >= low) & (prediction <= high)
    density = np.zeros((MAP_BINS, MAP_BINS), np.int64)
    if bins.map_x is not None and bins.map_y is not None:
        x, y = (_numbers(batch, name) for name in ("map_x", "map_y"))
        density = np.histogram2d(x, y, (bins.map_x, bins.map_y))[0].astype(np.int64)
    reasons, details = _reasons(batch, outside)
    known = batch.num_rows - batch.column("known_id").null_count if _has(batch, "known_id") else 0
    return LibrarySummary(
        bins,
        batch.num_rows,
        np.histogram(prediction[~outside], edges)[0],
        np.histogram(prediction[outside], edges)[0],
        (int((prediction < edges[0]).sum()), int((prediction > edges[-1]).sum())),
        (int(within.sum()), int((within & ~outside).sum())),
        density,
        judged,
        reasons,
        details,
        known,
    )


def _has(batch: pa.RecordBatch, column: str) -> bool:
    return column in batch.schema.names


def _domain(batch: pa.RecordBatch) -> tuple[int, NDArray[np.bool_]]:
    """Return of how many rows is known whether they are in domain, and (n,) which are not."""
    if not _has(batch, "in_domain"):
        return 0, np.zeros(batch.num_rows, bool)
    column = batch.column("in_domain").cast(pa.bool_())
    outside = pc.invert(column).fill_null(False)
    return len(column) - column.null_count, outside.to_numpy(zero_copy_only=False)


def _reasons(
    batch: pa.RecordBatch, outside: NDArray[np.bool_]
) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Return how many rows are out of domain by code, and by code and word for those `NAMED`."""
    if not outside.any() or not _has(batch, "domain_reason"):
        return Counter({"unknown": int(outside.sum())} if outside.any() else {}), Counter()
    reason = batch.column("domain_reason").filter(pa.array(outside)).cast(pa.string())
    words = pc.split_pattern(reason.fill_null("unknown"), " ", max_splits=2)
    codes = _tally(pc.list_element(words, 0))
    named = words.filter(
        pc.and_(
            pc.is_in(pc.list_element(words, 0), pa.array(NAMED)),
            pc.greater(pc.list_value_length(words), 1),
        )
    )
    both = pc.binary_join_element_wise(pc.list_element(named, 0), pc.list_element(named, 1), " ")
    details = {tuple(name.split(" ", 1)): count for name, count in _tally(both).items()}
    return codes, Counter(details)  # type: ignore[arg-type]


def _tally(texts: pa.Array) -> Counter[str]:
    return Counter(
        {pair["values"].as_py(): pair["counts"].as_py() for pair in texts.value_counts()}
    )
