"""A search in Optuna's terms: its space, and how much each part of it mattered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from emrl_ray.config.search_space import ChoiceDomain, SearchDomain
from emrl_ray.experiments.tuning.trial_store import Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MIN_TRIALS = 4
"""Fewer say nothing of what mattered."""


def distributions(space: Mapping[str, SearchDomain]) -> dict[str, BaseDistribution]:
    """Return the domains as Optuna's distributions."""
    return {name: _distribution(domain) for name, domain in space.items()}


def _distribution(domain: SearchDomain) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(domain, ChoiceDomain):
        return CategoricalDistribution(domain.values)
    if isinstance(domain.low, int):
        return IntDistribution(domain.low, int(domain.high), log=domain.log)
    return FloatDistribution(domain.low, domain.high, log=domain.log)


def trial_error(trial: Trial) -> float:
    """Return what the sampler is told of a trial that is over: its last error, infinite if it failed."""
    return math.inf if trial.mae is None or trial.reason is not None else trial.mae


def sampler_seed(seed: int, known: int) -> int:
    """Return the sampler's seed when `known` trials are recorded: a resumed search draws no trial again."""
    return int(np.random.SeedSequence([seed, known]).generate_state(1)[0])


def importances(
    trials: Sequence[Trial], space: Mapping[str, SearchDomain], seed: int
) -> dict[str, float]:
    """Return the share of the variance of the last validation error by option (fANOVA), largest first.

    Empty where fewer than four trials have an error, or all have the same. A trial that was stopped
    counts with the error that it was stopped at.
    """
    import optuna

    scored = [trial for trial in trials if math.isfinite(trial_error(trial))]
    if len(scored) < MIN_TRIALS or len({trial.mae for trial in scored}) == 1:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize")
    known = distributions(space)
    for trial in scored:
        study.add_trial(
            optuna.trial.create_trial(
                value=trial.mae, params=dict(trial.values), distributions=known
            )
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}
