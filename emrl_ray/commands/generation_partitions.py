"""What the workers of a library do: the keys of a range of candidates, the crystals of those chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.config import CrystalLimits, GenerateConfig, IngestConfig, UserError
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.counts import RowCounts, in_brackets
from emrl_ray.crystals.elements import MAX_ATOMIC_NUMBER, named_elements
from emrl_ray.crystals.geometry.ewald import ewald_energies
from emrl_ray.crystals.matching.structure_hash import structure_hashes
from emrl_ray.crystals.schema import KNOWN_ID, Reject, crystals_table
from emrl_ray.crystals.validation import ValidationLimits, validate
from emrl_ray.io.runtime import limited_threads
from emrl_ray.runs.partitioned_output import PartitionedOutput
from emrl_ray.screening.filters import element_filter
from emrl_ray.sources.generation.base import Candidates, CompositionLimits
from emrl_ray.sources.generation.ion_assignments import ion_assignments
from emrl_ray.sources.generation.novelty import NoveltyFilter, read_known
from emrl_ray.sources.generation.perovskites import SITES, Perovskites
from emrl_ray.sources.generation.strained_prototypes import StrainedPrototypes
from emrl_ray.sources.generation.substitution import Substitutions

STRAIN = 0.03
THRESHOLD = 0.001
ENERGY = pa.field(
    "ewald_energy",
    pa.float64(),
    metadata={"unit": "eV/atom", "theory": "Ewald sum of formal charges"},
)


class CandidateRange(NamedTuple):
    """Candidates `start:stop`."""

    name: str
    start: int
    stop: int


class Block(NamedTuple):
    """Candidates that are written together."""

    name: str
    numbers: NDArray[np.int64]
    """(B,) ascending."""
    known: pa.Array | None
    """(B,) ids of known crystals, null where there is none; None if nobody asks."""


def limits_of(config: GenerateConfig) -> ValidationLimits:
    """Return what the crystals of a library, and those it is made from, are at most."""
    most = CrystalLimits(max_atoms=config.max_atoms)
    return ValidationLimits.of(most, IngestConfig.cutoff)


def matching_limits() -> ValidationLimits:
    """Return what known crystals are at most: their cells may be larger than those of the candidates."""
    return ValidationLimits.of(CrystalLimits(), IngestConfig.cutoff)


def candidates_of(config: GenerateConfig) -> Candidates:
    """Return what the options choose from; raises UserError, in one line, if that is nothing."""
    chosen = element_filter(config.exclude_elements, config.only_elements)
    composable = CompositionLimits.of(
        chosen.excluded,
        chosen.only,
        MAX_ATOMIC_NUMBER if config.max_elements is None else config.max_elements,
        config.max_atoms,
    )
    if config.source == "perovskites":
        sites = {site: named_elements(getattr(config, site), site) for site in SITES}
        return Perovskites.of(sites, composable, *config.windows())
    if config.parents is not None:
        threshold = THRESHOLD if config.threshold is None else config.threshold
        found = Substitutions.of(config.parents, composable, threshold, limits_of(config))
        if not found.parents.ids:
            why = in_brackets(rejected(found.parents_read, found.rejects).rejects)
            raise UserError(
                f"--from {config.parents}: no crystal there can be a parent: "
                f"{found.parents_read:,} read, 0 usable{why}"
            )
        if not found.combinations:
            raise UserError(
                f"--from {config.parents}: no crystal there has a replacement of its ions with "
                f"--threshold {threshold:g} and the elements asked for"
            )
        return found
    neutral = ion_assignments().part(*config.parts())
    if not len(neutral):
        raise UserError(f"--part {config.part}: no combination of ions is in it")
    neutral = neutral.composable(composable)
    if not len(neutral):
        raise UserError(
            "--exclude-elements, --only-elements, --max-elements, --max-atoms: leave no combination "
            "of prototype and ions"
        )
    return StrainedPrototypes(
        neutral, config.seed, STRAIN if config.strain is None else config.strain
    )


def rejected(rows_in: int, rejects: Sequence[Reject]) -> RowCounts:
    """Return the counts of rows of which these were rejected."""
    reasons = Counter(str(reject.reason) for reject in rejects)
    return RowCounts(rows_in, rows_in - len(rejects), reasons)


class HashWorker:
    """Finds the valid candidates of a range, their keys, and the known crystals that they are."""

    def __init__(
        self, candidates: Candidates, config: GenerateConfig, output: PartitionedOutput
    ) -> None:
        self.candidates, self.output = candidates, output
        self.limits = limits_of(config)
        self.known = None
        if config.known is not None:
            table, _ = read_known(config.known, matching_limits())
            self.known = NoveltyFilter(table)

    @classmethod
    def build(cls, config: GenerateConfig, output: PartitionedOutput) -> HashWorker:
        """Return a worker that makes its candidates itself, for another process."""
        return cls(candidates_of(config), config, output)

    def __call__(self, partition: CandidateRange) -> RowCounts:
        """Write `number`, `key`, `second_keys` and `known_id` of the valid candidates."""
        numbers = np.arange(partition.start, partition.stop)
        with limited_threads(1):
            crystals = self.candidates.make(numbers).crystals
            ids = list(map(str, numbers.tolist()))
            table = crystals_table(crystals, ids, ids, {"number": pa.array(numbers)})
            good, rejects = validate(table, self.limits, partition.name)
            batch = CrystalBatch.from_arrow(good)
            keys = structure_hashes(batch)
            second = np.bincount(keys.crystal, minlength=batch.n_crystals)
            offsets = np.concatenate([np.zeros(1, np.int32), np.cumsum(second, dtype=np.int32)])
            in_order = keys.second[np.argsort(keys.crystal, kind="stable")]
            found = (
                pa.nulls(batch.n_crystals, pa.string())
                if self.known is None
                else self.known.find(batch)
            )
            columns = {
                "number": good.column("number"),
                "key": pa.array(keys.own),
                "second_keys": pa.ListArray.from_arrays(pa.array(offsets), pa.array(in_order)),
                KNOWN_ID: found,
            }
            return self.output.commit(partition.name, pa.table(columns), rejects, len(numbers))


class CrystalWorker:
    """Makes, labels and commits the crystals of one block."""

    def __init__(
        self, candidates: Candidates, config: GenerateConfig, output: PartitionedOutput
    ) -> None:
        self.candidates, self.config, self.output = candidates, config, output

    @classmethod
    def build(cls, config: GenerateConfig, output: PartitionedOutput) -> CrystalWorker:
        """Return a worker that makes its candidates itself, for another process."""
        return cls(candidates_of(config), config, output)

    def __call__(self, partition: Block) -> RowCounts:
        """Write the crystals of a block."""
        with limited_threads(1):
            table = generated_table(self.candidates, partition, self.config.label == "ewald")
            return self.output.commit(partition.name, table, [], len(partition.numbers))


def generated_table(candidates: Candidates, block: Block, labelled: bool) -> pa.Table:
    """Return the crystals of a block, with what is known of them and the label if it is asked for."""
    made = candidates.make(block.numbers)
    ids = [
        f"{kind}-{formula}-{number:07d}"
        for kind, formula, number in zip(
            made.kinds, made.formulas, block.numbers.tolist(), strict=True
        )
    ]
    columns = dict(made.columns)
    if block.known is not None:
        columns[KNOWN_ID] = block.known
    if labelled:
        columns[ENERGY.name] = pa.array(ewald_energies(made.crystals, made.charges))
    return crystals_table(made.crystals, ids, made.formulas, columns, {ENERGY.name: ENERGY})
