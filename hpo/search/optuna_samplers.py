"""Optuna's samplers, set up for a specification."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hpo.spec import OptunaSearch, StudySpec

if TYPE_CHECKING:
    import optuna

MIN_SOURCES = 10
"""So many past trials warm-start CMA-ES's distribution: it is fitted to their best tenth."""


def make(
    spec: StudySpec, search: OptunaSearch, sources: Sequence[optuna.trial.FrozenTrial] = ()
) -> optuna.samplers.BaseSampler:
    """A new sampler. `sources` are past trials for cmaes, at least MIN_SOURCES or none."""
    from optuna import samplers

    # Optuna takes seeds of 32 bits, a specification those of 63.
    seed = int.from_bytes(hashlib.sha256(str(spec.seed).encode()).digest()[:4], "big")
    options: dict[str, Any] = {"seed": seed}
    if search.startup_trials is not None:
        options["n_startup_trials"] = search.startup_trials
    with calm(search.sampler):
        match search.sampler:
            case "tpe":
                # Without conditions there is one group: Optuna would find it anew before each proposal.
                group = any(parameter.when for parameter in spec.parameters.values())
                return samplers.TPESampler(multivariate=True, group=group, constant_liar=True, **options)
            case "random":
                return samplers.RandomSampler(**options)
            case "cmaes":
                # Under a scheduler that stops most trials, the finished ones alone would never fill a generation.
                return samplers.CmaEsSampler(
                    consider_pruned_trials=spec.scheduler.algorithm != "fifo",
                    warn_independent_sampling=False,
                    source_trials=list(sources) or None,
                    **options,
                )
            case "gp":
                return samplers.GPSampler(warn_independent_sampling=False, **options)
            case "nsgaii":
                return samplers.NSGAIISampler(**options)
            case "qmc":
                return samplers.QMCSampler(scramble=True, warn_independent_sampling=False, **options)


@contextmanager
def calm(sampler: str) -> Iterator[None]:
    """Ask or tell a sampler in here: it warns of nothing, and gp computes on one thread.

    What Optuna warns of are its experimental options and numerical trouble that it recovers from; a user can do
    nothing about either. On a machine that trains at the same time, torch's threads wait for each other: with two
    busy cores a proposal of gp took 5 to 20 times as long. And what one thread adds up is the same on any machine.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if sampler != "gp":
            yield
            return
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
