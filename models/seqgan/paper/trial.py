"""The trainable: what a study runs for each of its trials, as `models.seqgan.paper.trial:train`."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from models.context import TrialContext
from models.errors import CheckpointError, ConfigError
from models.seqgan.paper.config import PaperConfig
from models.seqgan.paper.learner import Corpus, Learner

FORMAT = 1
MLE, ADVERSARIAL = 0.0, 1.0


def train(params: Mapping[str, object], trial: TrialContext) -> None:
    """Train a generator on an oracle's texts. A step is an epoch; PaperConfig documents the parameters.

    Ends after `trial.max_steps` epochs, or `config.epochs` without; goes on from `trial.resume` exactly as if never
    interrupted, or from another trial's checkpoint (`trial.inherit`) with its own rates. Metrics: `nll_oracle`,
    `nll_test`, `entropy` (nats a token; see metrics.Score), `phase` (0 teacher forcing, 1 after `mle_epochs` of a
    method that goes on otherwise), those of Learner.epoch, and `seconds` (wall clock, with measuring). Minimise
    `nll_test`: lower temperature lowers `nll_oracle`, and shows nothing.

    Raises ConfigError, DataError or CheckpointError: none goes away by trying again.
    """
    config = PaperConfig.from_params(params)
    if trial.world_size > 1:
        raise ConfigError(f"workers: {trial.world_size} workers, but these small models train in one; set workers = 1")
    torch.set_num_threads(1)
    learner = Learner(config, Corpus.build(config), seed=trial.seed)
    finished = 0
    if source := trial.resume or trial.inherit:
        state = load_checkpoint(source)
        learner.restore(state["learner"])
        finished = state["epoch"]
    alone = config.method in ("mle", "scheduled_sampling")
    for epoch in range(finished + 1, (trial.max_steps or config.epochs) + 1):
        started = time.monotonic()
        metrics = learner.epoch(epoch) | asdict(learner.measure(epoch))
        metrics["phase"] = MLE if alone or epoch <= config.mle_epochs else ADVERSARIAL
        metrics["seconds"] = time.monotonic() - started
        save = partial(save_checkpoint, config=config, epoch=epoch, learner=learner.state())
        trial.report(epoch, metrics, save)


def save_checkpoint(folder: Path, *, config: PaperConfig, epoch: int, learner: dict[str, Any]) -> None:
    """Write weights, optimizers and configuration into a folder that exists; no random state is needed."""
    torch.save({"epoch": epoch, "learner": learner}, folder / "state.pt")
    manifest = {"format": FORMAT, "config": config.to_params()}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """The state in a folder; raises CheckpointError when a file is absent, unreadable or of another format."""
    try:
        found = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["format"]
        state: dict[str, Any] = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{folder}: no whole checkpoint ({error!r}); go on from an earlier one") from error
    if found != FORMAT:
        raise CheckpointError(f"{folder}: format {found}, but this version reads {FORMAT}; use the one that wrote it")
    return state
