"""Transfer: the learning curve of the paper's title, from scratch and from a network that knows more."""

from __future__ import annotations

from collections.abc import Mapping

from emrl_ray.config import BenchmarkConfig, UserError
from emrl_ray.experiments.benchmark.datasets import Source
from emrl_ray.experiments.benchmark.result_files import has_result
from emrl_ray.experiments.benchmark.runs import TEST
from emrl_ray.experiments.benchmark.transfer import HEADS_COMPARED, SHARES, STARTS, TransferRun
from emrl_ray.io.console import log
from emrl_ray.io.fingerprints import table_fingerprint
from emrl_ray.io.paths import resolve
from emrl_ray.model.labels import count_labels
from emrl_ray.training.evaluation import MIN_ROWS


def transfer(config: BenchmarkConfig, out: str, sources: Mapping[str, Source]) -> list[str]:
    """Run the trainings whose results are missing; return what failed."""
    assert config.transfer is not None
    _check_rows(sources)
    cells = [
        cell
        for name in dict.fromkeys(config.dataset)
        for seed in range(config.first_seed, config.first_seed + config.repeats)
        for cell in _cells(config, name, sources[name], seed)
        if not all(
            has_result(resolve(out) / "/".join(cell.result_name(head)), cell.meant())
            for head in HEADS_COMPARED
        )
    ]
    log(f"benchmark: {len(cells)} trainings of transfer to do")
    if not cells:
        return []
    from emrl_ray.distributed.benchmark_tasks import run_transfers

    return run_transfers(cells, sources, out, config)


def _check_rows(sources: Mapping[str, Source]) -> None:
    """Raise UserError, in one line, for a data set too small for its least share."""
    for name, source in sources.items():
        rows = count_labels(source.table, source.target)
        least = round(min(SHARES) * (1 - TEST) * rows)
        if least < MIN_ROWS:
            raise UserError(
                f"--transfer: {min(SHARES):.0%} of the training rows of {name} are {least}, "
                f"at least {MIN_ROWS} are needed"
            )


def _cells(config: BenchmarkConfig, name: str, source: Source, seed: int) -> list[TransferRun]:
    assert config.transfer is not None
    data = table_fingerprint(source.table)
    before = config.transfer_epochs or config.epochs
    return [
        TransferRun(
            config.transfer,
            before,
            name,
            source.preset,
            source.target,
            start,
            share,
            seed,
            config.epochs,
            data,
        )
        for start in STARTS
        for share in SHARES
    ]
