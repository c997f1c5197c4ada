"""Benchmark: the paper's protocol, data sets x methods x splits, each training a task of its own.

A result is a file, made as soon as its method is scored; what is there is not made again, so that
an interrupted benchmark goes on. The tables are made from the files alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from typing import NamedTuple

from emrl_ray.commands.benchmark_transfer import transfer
from emrl_ray.config import BenchmarkConfig
from emrl_ray.experiments.benchmark.datasets import Source, check_source, sources_of
from emrl_ray.experiments.benchmark.methods import METHODS, by_recipe, check_methods
from emrl_ray.experiments.benchmark.result_files import has_result
from emrl_ray.experiments.benchmark.runs import BenchmarkRun
from emrl_ray.io.console import log
from emrl_ray.io.fingerprints import table_fingerprint
from emrl_ray.io.paths import absolute_uri, resolve
from emrl_ray.io.preflight import check_output_folder
from emrl_ray.io.runtime import need_extra
from emrl_ray.reports.benchmark.tables import write_tables
from emrl_ray.reports.benchmark.transfer import write_transfer


class BenchmarkResult(NamedTuple):
    """What benchmark left."""

    results: str
    """Folder of the results."""
    failed: list[str]
    """Trainings that ended with an error, and the error."""

    @property
    def passed(self) -> bool:
        """Whether every training has its result."""
        return not self.failed


def benchmark(config: BenchmarkConfig) -> BenchmarkResult:
    """Make the results that are missing, then the tables of all."""
    out, tables = absolute_uri(config.out), absolute_uri(config.tables or config.out)
    _check_outputs(out=out, tables=tables)
    sources = sources_of(config)
    methods = config.methods or list(METHODS)
    check_methods(methods, config.out_of_fold)
    for source in sources.values():
        check_source(source)
    if config.transfer is not None:
        failed = transfer(config, out, sources)
        write_transfer(out, tables)
    else:
        failed = _compare(config, out, sources, methods)
        with suppress(FileNotFoundError) if failed else nullcontext():  # no training succeeded
            write_tables(out, tables)
    for line in failed:
        log(f"benchmark: failed: {line}")
    log(f"benchmark: results in {out}, tables in {tables}")
    return BenchmarkResult(out, failed)


def _check_outputs(**locations: str) -> None:
    """Raise UserError or ImportError, in one line, for what would only show after the trainings."""
    need_extra("matplotlib", extra="report")
    for option, location in locations.items():
        check_output_folder(resolve(location), location, option)


def _compare(
    config: BenchmarkConfig, out: str, sources: Mapping[str, Source], methods: list[str]
) -> list[str]:
    """Run the trainings whose methods lack results, as tasks; return what failed."""
    cells = []
    for cell in _cells(config, sources, methods):
        location, meant = resolve(out), cell.meant()
        missing = [
            method
            for method in cell.methods
            if not has_result(location / "/".join(cell.result_name(method)), meant)
        ]
        if missing:
            cells.append(cell._replace(methods=tuple(missing)))
    log(f"benchmark: {len(cells)} trainings to do")
    if not cells:
        return []
    from emrl_ray.distributed.benchmark_tasks import run_benchmarks

    return run_benchmarks(cells, sources, out, config)


def _cells(
    config: BenchmarkConfig, sources: Mapping[str, Source], methods: list[str]
) -> Iterator[BenchmarkRun]:
    """Yield the trainings: a data set after the other, and in each a split after the other."""
    for name, source in sources.items():
        data = table_fingerprint(source.table)
        for seed in range(config.first_seed, config.first_seed + config.repeats):
            for recipe, chosen in by_recipe(methods).items():
                yield BenchmarkRun(
                    name,
                    source.preset,
                    source.target,
                    recipe,
                    tuple(chosen),
                    config.split,
                    seed,
                    config.epochs,
                    config.out_of_fold,
                    data,
                )
