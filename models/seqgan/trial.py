"""The trainable: what a study runs for each of its trials, as `models.seqgan.trial:train`."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from models.context import TrialContext
from models.seqgan.config import SeqGANConfig
from models.seqgan.train import fit


def train(params: Mapping[str, object], trial: TrialContext) -> None:
    """Train a headline generator; minimise its metric `perplexity`. A step is an epoch.

    `params` are the searched parameters and the study's constants, as SeqGANConfig documents them.
    Runs in one process, or on each of `trial.world_size` workers once torch.distributed is initialised.
    Raises ConfigError, DataError or CheckpointError: none goes away by trying again.
    """
    config = SeqGANConfig.from_params(params)
    if trial.device == "cpu":
        # Matrices this small gain nothing from threads, and trials that share a node would fight over cores.
        torch.set_num_threads(1)
    fit(config, trial)
