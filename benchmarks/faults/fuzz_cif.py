"""Changed CIFs through the whole loading path: each must become a row or a reject, in time.

    python -m benchmarks.faults.fuzz_cif --count 100000 --seed 0

Batches of CIFs that `mutations` changes at random are put into archives and read as `ingest` reads them: listed,
planned, parsed in processes of their own with a limit of seconds, validated. Ends with an
error if an input is neither row nor reject, is both, or if a slice takes longer than its documents may. With
EMRL_RAY_DATA some CIFs of HOIP are changed too. Writes benchmarks/results/fuzz.json.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.common.timing import Results
from benchmarks.faults.changed_texts import SEEDS, mutated
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.sources.files.formats.registry import Format
from emrl_ray.sources.files.listing import list_sources
from emrl_ray.sources.files.loading import Loaded, Loader
from emrl_ray.sources.files.parser_pool import ParserPool
from emrl_ray.sources.files.partitions import CsvColumns
from emrl_ray.sources.files.planning import plan_partitions

RESULTS = Path(__file__).parents[1] / "results" / "fuzz.json"
LIMITS = ValidationLimits(1000, 400_000, 5.0, 0.5)
BATCH = 5000
FILES_PER_PARTITION = 500
HOIP_SEEDS = 20
OTHERWISE = 10.0
"""Seconds that a slice may take beside what its timed-out documents take."""


class Outcome(NamedTuple):
    """What became of a batch."""

    inputs: int
    rows: int
    rejects: Counter[str]
    slowest: float
    """Seconds of its slowest slice, beside what timed-out documents took."""


def run_batch(
    seed: int, numbers: Sequence[int], texts: Sequence[bytes], pool: ParserPool, scratch: Path
) -> Outcome:
    """Read changed CIFs from an archive; raises AssertionError if one is lost or takes too long."""
    archive = scratch / "batch.tar"
    with tarfile.open(archive, "w") as opened:
        for number in numbers:
            content = mutated(seed, number, texts)
            entry = tarfile.TarInfo(f"{number}.cif")
            entry.size = len(content)
            opened.addfile(entry, io.BytesIO(content))
    plan = plan_partitions(list_sources([str(archive)]), str(scratch), FILES_PER_PARTITION)
    load = Loader(plan.columns, LIMITS, pool, CsvColumns())
    rows, slowest = 0, 0.0
    rejects: Counter[str] = Counter()
    met: Counter[str] = Counter()
    for partition in plan.partitions:
        began = time.monotonic()
        loaded = load(partition)
        reasons = Counter(str(reject.reason) for reject in loaded.rejects)
        waited = reasons["timed_out"] * 2 * pool.seconds  # in its party, then alone
        slowest = max(slowest, time.monotonic() - began - waited)
        met.update(_inputs(loaded))
        rows += loaded.crystals.num_rows
        rejects += reasons
    assert slowest < OTHERWISE + pool.seconds, f"a slice took {slowest:.1f} s"
    lost = {str(number) for number in numbers} - met.keys()
    assert not lost, f"neither row nor reject: {sorted(lost)[:5]} of seed {seed}"
    assert met.keys() <= {str(number) for number in numbers}
    return Outcome(len(numbers), rows, rejects, slowest)


def _inputs(loaded: Loaded) -> list[str]:
    """Return the inputs that rows and rejects came from; no crystal may be both."""
    ids = [*loaded.crystals.column("id").to_pylist(), *(each.id for each in loaded.rejects)]
    assert loaded.rows_in == len(ids) == len({*ids})
    return [row_id.partition("#")[0] for row_id in ids]


def seeds() -> list[bytes]:
    """Return the CIFs to change: our own, and some of HOIP's if they are there."""
    texts = [text.encode() for text in SEEDS]
    data = os.environ.get("EMRL_RAY_DATA")
    if data:
        with tarfile.open(Path(data).expanduser() / "data" / "hoip_cifs.tar.gz") as archive:
            cifs = (entry for entry in archive if entry.name.endswith(".cif"))
            for entry in itertools.islice(cifs, HOIP_SEEDS):
                content = archive.extractfile(entry)
                assert content is not None
                texts.append(content.read())
    return texts


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100_000, help="CIFs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds a CIF may take")
    parser.add_argument("--out", default=RESULTS, help="file of the results")
    words = parser.parse_args()
    texts = seeds()
    results = Results.begin(words.out, quick=words.count < 100_000, compared=["gemmi"])
    began = time.monotonic()
    total = Outcome(0, 0, Counter(), 0.0)
    with (
        ParserPool(1, words.timeout, [Format.CIF]) as pool,
        tempfile.TemporaryDirectory() as folder,
    ):
        for first in range(0, words.count, BATCH):
            numbers = range(first, min(first + BATCH, words.count))
            found = run_batch(words.seed, numbers, texts, pool, Path(folder))
            total = Outcome(
                total.inputs + found.inputs,
                total.rows + found.rows,
                total.rejects + found.rejects,
                max(total.slowest, found.slowest),
            )
            _put(results, total, words, len(texts), time.monotonic() - began)
    results.put(["complete"], True)


def _put(results: Results, total: Outcome, words: Any, texts: int, seconds: float) -> None:
    content = {
        "inputs": total.inputs,
        "rows": total.rows,
        "rejects": dict(total.rejects.most_common()),
        "lost": 0,
        "job_crashes": 0,
        "limit_s": words.timeout,
        "slowest_slice_s": round(total.slowest, 2),
        "seconds": round(seconds, 1),
        "seed": words.seed,
        "texts_changed": texts,
    }
    for name, value in content.items():
        results.put([name], value)
    print(
        f"{total.inputs:,} inputs: {total.rows:,} rows, {total.rejects.total():,} rejects "
        f"({dict(total.rejects.most_common())}), {seconds:.0f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
