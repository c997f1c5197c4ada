"""How the cost of a crystal grows with its atoms, with the cutoff, and with the known crystals.

`run.py` runs it, on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from benchmarks.common.accuracy import CUTOFFS, published_network
from benchmarks.common.samples import SEED, data_folder
from benchmarks.common.timing import Results, Work, alternate
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.features.pairs import find_pairs
from emrl_ray.io.runtime import available_cpus, limited_threads
from emrl_ray.model import Model
from emrl_ray.model.uncertainty import NearestNeighborIndex

ATOM_EDGES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 689)
"""First number of atoms of each bucket, and one more than the largest."""
ATOMS_AT_MOST = 20_000
CRYSTALS_AT_LEAST = 500
"""Atoms of all the crystals of a bucket that are timed, and crystals: over again if there are fewer,
as long as they have not too many atoms, so that the cost of a call is shared by many."""
REFERENCES = (1_000, 10_000, 100_000, 1_000_000)
QUERIES = 2_000
PRODUCT_QUERIES = 200
SPHERE_QUERIES = 50
"""Queries of the plain way, a matrix product, and of the worst case: they take long."""


def against_atoms(model: Model, rounds: int) -> dict[str, Any]:
    """Return µs a crystal of `Model.embed` by number of atoms, for the candidates, and a fit."""
    table = pq.read_table(data_folder() / "data" / "candidates.parquet")
    batch = CrystalBatch.from_arrow(table)
    shuffled = np.random.default_rng(SEED).permutation(batch.n_crystals)
    bucket = np.digitize(batch.n_atoms[shuffled], ATOM_EDGES) - 1
    works, rows = {}, []
    for place, first in enumerate(ATOM_EDGES[:-1]):
        members = shuffled[bucket == place]
        members = members[np.cumsum(batch.n_atoms[members]) <= ATOMS_AT_MOST]
        part = batch.take(members)
        n_pairs = find_pairs(part, model.cutoff).n_pairs
        with_pairs = np.flatnonzero(n_pairs)
        most = int(ATOMS_AT_MOST / part.n_atoms[with_pairs].mean())
        count = max(len(with_pairs), min(CRYSTALS_AT_LEAST, most))
        part = part.take(np.resize(with_pairs, count))
        works[str(first)] = Work(lambda part=part: model.embed(part), part.n_crystals)
        rows.append(
            {
                "atoms": [first, ATOM_EDGES[place + 1] - 1],
                "mean_atoms": round(float(part.n_atoms.mean()), 2),
                "mean_pairs": round(float(n_pairs[n_pairs > 0].mean()), 1),
            }
        )
    timings = alternate(works, rounds)
    for row, timing in zip(rows, timings.values(), strict=True):
        row |= timing.summary()
    large = [row for row in rows if row["mean_atoms"] >= 8]
    return {
        "cutoff": model.cutoff,
        "buckets": rows,
        "exponent_of_atoms": _exponent(large, "mean_atoms"),
        "exponent_of_pairs": _exponent(large, "mean_pairs"),
        "exponents_from": "buckets of 8 atoms and more, least squares of the logarithms",
    }


def _exponent(rows: list[dict[str, Any]], size: str) -> float:
    """Return b of the fit time = a · size^b."""
    sizes, times = (np.log([row[name] for row in rows]) for name in (size, "us_per_crystal"))
    return round(float(np.polyfit(sizes, times, 1)[0]), 3)


def against_cutoff(rounds: int) -> list[dict[str, Any]]:
    """Return µs a crystal of the fast path by cutoff (Å), for HOIP."""
    batch = CrystalBatch.from_arrow(pq.read_table(data_folder() / "data" / "hoip.parquet"))
    works = {}
    for cutoff in CUTOFFS:
        network = published_network(cutoff).compile()
        works[cutoff] = Work(lambda network=network: network.embed(batch), batch.n_crystals)
    rows = []
    for cutoff, timing in alternate(works, rounds).items():
        pairs = float(find_pairs(batch, cutoff).n_pairs.mean())
        per_pair = round(1000 * timing.median / pairs, 2)
        rows.append({"cutoff": cutoff, "mean_pairs": round(pairs, 1), "ns_per_pair": per_pair})
        rows[-1] |= timing.summary()
    return rows


def against_references(model: Model, rounds: int, most: int) -> list[dict[str, Any]]:
    """Return µs a query of the search for the nearest known crystal by their number.

    Known crystals are candidates as the model embeds them, beyond their number the same again, each
    moved by about as far as its nearest neighbour is; queries are crystals of MPL. Vectors without
    any structure, evenly spread on the sphere, are the worst case; the plain way is a matrix product.
    """
    data, random = data_folder() / "data", np.random.default_rng(SEED)
    known = random.permutation(_embeddings(model, data / "candidates.parquet", None))
    queries = _embeddings(model, data / "mpl.parquet", QUERIES)
    spread = _jittered(known, most, random)
    sphere = _on_sphere(random.normal(size=(most + SPHERE_QUERIES, spread.shape[1])))
    sphere, sphere_queries = sphere[:most], sphere[most:]
    rows = []
    for count in [count for count in REFERENCES if count <= most]:
        nearest, unstructured = (
            NearestNeighborIndex(spread[:count]),
            NearestNeighborIndex(sphere[:count]),
        )
        timings = alternate(
            {
                "embeddings": Work(lambda n=nearest: n.query(queries), len(queries)),
                "evenly spread": Work(
                    lambda n=unstructured: n.query(sphere_queries), SPHERE_QUERIES
                ),
                "matrix product": Work(
                    lambda n=count: _by_product(spread[:n], queries[:PRODUCT_QUERIES]),
                    PRODUCT_QUERIES,
                ),
            },
            rounds,
        )
        rows.append({"references": count})
        rows[-1] |= {name: timing.summary() for name, timing in timings.items()}
    return rows


def _embeddings(model: Model, file: Path, count: int | None) -> NDArray[np.float32]:
    table = pq.read_table(file)
    rows = np.random.default_rng(SEED).permutation(table.num_rows)[:count]
    embeddings = model.embed(CrystalBatch.from_arrow(table.take(np.sort(rows))))
    return embeddings[np.isfinite(embeddings[:, 0])]


def _jittered(known: NDArray[np.float32], count: int, random: Any) -> NDArray[np.float32]:
    """Return `count` vectors: the known ones, then the same again, moved a little."""
    if count <= len(known):
        return known[:count]
    gaps = NearestNeighborIndex(known[1_000:]).query(known[:1_000])[1]
    step = np.median(gaps) / np.sqrt(known.shape[1])
    again = known[np.arange(len(known), count) % len(known)]
    again = _on_sphere(again + step * random.normal(size=again.shape))
    return np.concatenate([known, again])


def _on_sphere(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / lengths).astype(np.float32)


def _by_product(references: NDArray[np.float32], queries: NDArray[np.float32]) -> NDArray:
    """Return the index (B,) of the nearest unit vector to each: the one with the largest product."""
    best = np.full(len(queries), -np.inf, np.float32)
    index = np.zeros(len(queries), np.int64)
    for first in range(0, len(references), 8192):
        products = queries @ references[first : first + 8192].T
        nearest = products.argmax(axis=1)
        values = products[np.arange(len(queries)), nearest]
        index = np.where(values > best, first + nearest, index)
        best = np.maximum(best, values)
    return index


def main() -> None:
    """Measure on the CPUs of this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", help="JSON file to add to")
    parser.add_argument("model", help="model folder")
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--references", type=int, default=REFERENCES[-1])
    words = parser.parse_args()
    threads, results = available_cpus(), Results(words.results)
    torch.set_num_threads(threads)
    with limited_threads(threads):
        model = Model.load(words.model, threads)
        results.put(["against_atoms"], against_atoms(model, words.rounds))
        results.put(["against_cutoff"], against_cutoff(words.rounds))
        found = against_references(model, words.rounds, words.references)
        results.put(["against_references"], found)


if __name__ == "__main__":
    main()
