"""A trial that goes on from another's weights, as population-based training lets it."""

from pathlib import Path

import pytest
import torch

from models.context import LocalTrial
from models.errors import CheckpointError
from models.seqgan.checkpoint import load_checkpoint
from models.seqgan.config import SeqGANConfig
from models.seqgan.learner import Learner
from models.seqgan.paper.trial import train as train_paper
from models.seqgan.trial import train

TINY_ORACLE = {
    "vocabulary": 20, "length": 6, "num_texts": 64, "num_samples": 64, "embedding": 4, "hidden": 4, "lr": 0.05,
}  # fmt: skip


def params(checkpoint: Path, **changes: object) -> dict[str, object]:
    """The donor's, changed."""
    return load_checkpoint(checkpoint).config.to_params() | changes


def test_its_first_metric_is_that_of_the_donors_next_epoch_and_not_a_fresh_models(
    tmp_path: Path, checkpoint: Path
) -> None:
    donor = load_checkpoint(checkpoint).state["best"]
    fresh = LocalTrial(tmp_path / "fresh", seed=12, max_steps=1, quiet=True)
    train(params(checkpoint), fresh)
    heir = LocalTrial(tmp_path / "heir", seed=12, max_steps=5, inherit=checkpoint, quiet=True)
    train(params(checkpoint, lr=0.001, dropout=0.2), heir)
    assert [report["step"] for report in heir.history] == [4, 5]
    first, anew = heir.history[0]["perplexity"], fresh.history[0]["perplexity"]
    assert abs(first - donor) < 0.2 * abs(anew - donor)


def test_its_own_rates_replace_those_of_the_donors_optimizers(checkpoint: Path) -> None:
    saved = load_checkpoint(checkpoint)
    changed = SeqGANConfig.from_params(
        saved.config.to_params() | {"weight_decay": 0.2, "lr_d": 0.5, "d_weight_decay": 0.3}
    )
    learner = Learner(changed, saved.reader.tokenizer.size, epochs=3, seed=1)
    learner.restore(saved.state["learner"])
    assert {group["weight_decay"] for group in learner.optimizer.param_groups} == {0.2}
    groups = learner.adversary.optimizer.param_groups
    assert {(group["lr"], group["weight_decay"]) for group in groups} == {(0.5, 0.3)}
    moments = [state["exp_avg"].abs().sum() for state in learner.optimizer.state.values()]
    assert float(torch.stack(moments).sum()) > 0, "the moments come with the weights"


def test_weights_of_another_shape_are_refused(tmp_path: Path, checkpoint: Path) -> None:
    heir = LocalTrial(tmp_path, seed=12, max_steps=5, inherit=checkpoint, quiet=True)
    with pytest.raises(CheckpointError, match="other shapes"):
        train(params(checkpoint, hidden=14), heir)


def test_the_papers_model_inherits_too(tmp_path: Path) -> None:
    donor = LocalTrial(tmp_path / "donor", seed=1, max_steps=3, quiet=True)
    train_paper(TINY_ORACLE, donor)
    heir = LocalTrial(tmp_path / "heir", seed=2, max_steps=4, inherit=donor.checkpoint, quiet=True)
    train_paper(TINY_ORACLE | {"lr": 0.01}, heir)
    assert [report["step"] for report in heir.history] == [4]
    first, last = donor.history[0]["nll_test"], donor.history[-1]["nll_test"]
    assert abs(heir.history[0]["nll_test"] - last) < abs(first - last)
