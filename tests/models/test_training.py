"""Whole trials: learning, going on from a checkpoint, several workers, wrong parameters."""

import json
import math
import multiprocessing
import random
from pathlib import Path

import pytest
import torch

from models.context import LocalTrial
from models.errors import CheckpointError, ConfigError, ModelError
from models.seqgan.adversary import Adversary
from models.seqgan.checkpoint import load_checkpoint, save_checkpoint
from models.seqgan.config import SeqGANConfig
from models.seqgan.decoding import Decoding
from models.seqgan.learner import Learner
from models.seqgan.sample import first_sentence, generate, held_out_rows
from models.seqgan.train import check_batches, main
from models.seqgan.trial import train
from models.text.encoded import EncodedPairs

SMALL = {
    "hidden": 12, "embedding": 8, "article_length": 20, "headline_length": 10, "batch_size": 8,
    "d_channels": 4, "adversarial_updates": 2, "d_warmup": 2, "mle_epochs": 2, "lr": 0.01, "dropout": 0.25,
    "d_accuracy_limit": 1.0,
}  # fmt: skip
EIGHT = [
    ("北京举行新年音乐会", "今晚的长安街流光溢彩,北京举行新年音乐会。"),
    ("大连港吞吐量上升", "大连港去年吞吐量超过七千万吨,比上年上升。"),
    ("延安供水工程通水", "革命圣地延安供水工程日前建成通水。"),
    ("海口公园游人如织", "海口市阳光明媚,公园里到处是欢乐的人群。"),
    ("哈尔滨冰雕迎客", "冰城哈尔滨市为孩子们准备了冰雕。"),
    ("外贸连续五年增长", "据海关统计,我国外贸已连续五年增长。"),
    ("山村通了电话", "昨天,深山里的小村庄第一次通了电话。"),
    ("少年足球赛开幕", "全国少年足球赛今天在这里开幕。"),
]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Twenty-four pairs whose headline is a piece of the body."""
    rng = random.Random(5)
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for i in range(24):
            body = "".join(rng.choices("天地玄黄宇宙洪荒日月盈昃辰宿列张", k=18))
            split = "train" if i < 19 else "dev"
            clicks = {"clicks": rng.randrange(9), "impressions": 100, "history": [body[:4]] * (i % 3)}
            file.write(json.dumps({"title": body[3 : 5 + i % 5], "body": body, "split": split, **clicks}) + "\n")
    return str(path)


def run(workdir: Path, data: str, steps: int, resume: Path | None = None, **params: object) -> LocalTrial:
    trial = LocalTrial(workdir, seed=11, max_steps=4, resume=resume, quiet=True)
    if steps < 4:
        report = trial.report

        def report_then_stop(step, metrics, checkpoint=None):  # type: ignore[no-untyped-def]
            report(step, metrics, checkpoint)
            if step == steps:
                raise KeyboardInterrupt

        trial.report = report_then_stop  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            train(SMALL | {"data": data} | params, trial)
    else:
        train(SMALL | {"data": data} | params, trial)
    return trial


def without_time(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_it_overfits_eight_sentences(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "eight.jsonl"
    rows = [{"title": t, "body": b, "split": s} for s in ("train", "train", "dev") for t, b in EIGHT]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    # Twice each, for a character seen once is left out of the vocabulary.
    epochs = 80
    trial = LocalTrial(tmp_path / "out", max_steps=epochs, quiet=True)
    params = {"data": str(path), "cell": cell, "hidden": 32, "embedding": 24, "dropout": 0.0, "lr": 0.01}
    train(SMALL | params | {"mle_epochs": epochs, "batch_size": 4, "headline_length": 12}, trial)
    assert trial.history[-1]["perplexity"] < 1.05
    written = generate(trial.checkpoint, [body for _, body in EIGHT])
    assert [headlines[0] for headlines in written] == [title for title, _ in EIGHT]


# Everything that could carry a state from one epoch to the next.
ALL_ON = {
    "hot_words": "tfidf", "num_hot_words": 9, "history_length": 6, "clicks": True, "lambda_aux": 0.1,
    "eda_alpha": 0.2, "lambda_mle_decay": 0.5, "norm": "batch", "cell": "rnn",
}  # fmt: skip


@pytest.mark.parametrize("params", [{}, {"cell": "gru"}, ALL_ON], ids=["lstm", "gru", "all"])
@pytest.mark.parametrize("interrupted_after", [1, 3])
def test_a_resumed_trial_equals_an_uninterrupted_one_bit_for_bit(
    tmp_path: Path, pairs: str, params: dict[str, object], interrupted_after: int
) -> None:
    whole = run(tmp_path / "whole", pairs, 4, **params)
    first = run(tmp_path / "first", pairs, interrupted_after, **params)
    torch.rand(13)
    second = run(tmp_path / "second", pairs, 4, resume=first.checkpoint, **params)
    assert without_time(first.history + second.history) == without_time(whole.history)
    expected = load_checkpoint(whole.checkpoint).state["learner"]
    state = load_checkpoint(second.checkpoint).state["learner"]
    pairs_of_states = (
        (expected["generator"], state["generator"]),
        (expected["adversary"]["discriminator"], state["adversary"]["discriminator"]),
    )
    for wanted, found in pairs_of_states:
        for name, weight in wanted.items():
            assert torch.equal(weight, found[name]), name


def test_teacher_forcing_weighs_less_after_each_adversarial_epoch_down_to_its_floor() -> None:
    config = SeqGANConfig.from_params({"lambda_mle_decay": 0.5, "lambda_mle_floor": 0.3, "hidden": 4, "embedding": 4})
    learner = Learner(config, 10, epochs=4, seed=1)
    weights = []
    for _ in range(4):
        weights.append(learner._lambda_mle())
        learner.adversarial_epochs += 1
    assert weights == [1.0, 0.5, 0.3, 0.3]


@pytest.mark.parametrize(("accuracy", "updates"), [(0.75, 2), (0.76, 0)])
def test_the_discriminator_is_left_alone_while_it_knows_too_much(
    accuracy: float, updates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SeqGANConfig.from_params(SMALL | {"d_accuracy_limit": 0.75, "d_warmup": 3})
    learner = Learner(config, 10, epochs=1, seed=1)
    monkeypatch.setattr(Adversary, "accuracy", lambda *_: accuracy)
    tokens = torch.randint(4, 10, (6, 8), generator=torch.Generator().manual_seed(1))
    encoded, rng = EncodedPairs(tokens, tokens), torch.Generator().manual_seed(2)
    losses = [len(learner.adversary.train(learner.generator.eval(), encoded, encoded, rng)[0]) for _ in range(3)]
    assert losses == [3, updates, updates]


def test_a_constant_reward_with_a_mean_baseline_trains_as_teacher_forcing_alone(tmp_path: Path, pairs: str) -> None:
    params = {"dropout": 0.0, "entropy_coef": 0.0, "mle_epochs": 3}
    control = run(tmp_path / "a", pairs, 4, reward="constant", baseline="mean", **params)
    plain = run(tmp_path / "b", pairs, 4, adversarial_updates=0, **params)
    assert control.history[-1]["reward"] == 0.5
    assert control.history[-1]["perplexity"] == pytest.approx(plain.history[-1]["perplexity"], rel=1e-5)


@pytest.mark.parametrize("reward", ["sentence", "constant"])
def test_the_other_rewards_train(tmp_path: Path, pairs: str, reward: str) -> None:
    trial = run(tmp_path, pairs, 4, reward=reward, baseline="none")
    assert all(math.isfinite(value) for row in trial.history for value in row.values())
    assert ("d_loss" in trial.history[-1]) == (reward == "sentence")


def test_auxiliary_heads_learn(tmp_path: Path, pairs: str) -> None:
    trial = run(tmp_path, pairs, 4, **(ALL_ON | {"mle_epochs": 4, "eda_alpha": 0.0, "lambda_aux": 1.0, "lr": 0.05}))
    assert trial.history[-1]["aux_loss"] < 0.9 * trial.history[0]["aux_loss"]


def test_bfloat16_trains_both_networks_as_float32_does_up_to_rounding(tmp_path: Path, pairs: str) -> None:
    params = {"d_updates": 20, "lr_d": 0.01, "d_dropout": 0.0}
    rough = run(tmp_path / "a", pairs, 4, precision="bf16", **params)
    exact = run(tmp_path / "b", pairs, 4, **params)
    assert rough.history[-1]["perplexity"] == pytest.approx(exact.history[-1]["perplexity"], rel=0.05)
    # A discriminator whose updates went unseen would stay at its first loss.
    assert exact.history[-1]["d_loss"] < 0.95 * exact.history[2]["d_loss"]
    assert rough.history[-1]["d_loss"] < 0.95 * rough.history[2]["d_loss"]


def test_a_trial_goes_on_only_with_texts_that_are_read_as_before(tmp_path: Path, pairs: str) -> None:
    first = run(tmp_path / "a", pairs, 1)
    with pytest.raises(CheckpointError, match="headline_length: 5, but the checkpoint was trained with 10"):
        run(tmp_path / "b", pairs, 4, resume=first.checkpoint, headline_length=5)


def test_a_batch_with_fewer_pairs_than_workers_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch_size: 1 of 19 training pairs, but each of 2 workers"):
        check_batches(SeqGANConfig.from_params({"batch_size": 1}), num_pairs=19, world_size=2)


@pytest.mark.parametrize("baseline", ["none", "mean", "leave_one_out"])
def test_adversarial_epochs_report_finite_metrics_and_train_the_discriminator(
    tmp_path: Path, pairs: str, baseline: str
) -> None:
    trial = run(tmp_path, pairs, 4, baseline=baseline, lambda_adv=1.0, n_rollouts=3, rollout_stride=2)
    assert [row["phase"] for row in trial.history] == [0, 0, 1, 1]
    assert [row["step"] for row in trial.history] == [1, 2, 3, 4]
    for row in trial.history[2:]:
        assert all(math.isfinite(value) for value in row.values())
        assert 0 < row["reward"] < 1
    assert "reward" not in trial.history[0]
    # Two generator updates an epoch: (d_warmup 2) + 2, then 2 + 2 updates of the discriminator.
    steps = load_checkpoint(trial.checkpoint).state["learner"]["adversary"]["optimizer"]["state"][0]["step"]
    assert steps == 8


def test_without_adversarial_updates_the_epochs_equal_teacher_forcing(tmp_path: Path, pairs: str) -> None:
    mixed = run(tmp_path / "a", pairs, 4, adversarial_updates=0)
    plain = run(tmp_path / "b", pairs, 4, mle_epochs=4)
    assert [row["perplexity"] for row in mixed.history] == [row["perplexity"] for row in plain.history]


def test_teacher_forcing_ends_when_patience_is_out(tmp_path: Path) -> None:
    # Nothing in the dev headline is ever seen in training: the more it learns, the worse it scores.
    path = tmp_path / "pairs.jsonl"
    rows = [("天地天地", "天地玄黄", "train")] * 30 + [("宇宙洪荒", "日月盈昃", "dev")]
    lines = [json.dumps(dict(zip(("title", "body", "split"), row, strict=True))) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    trial = run(tmp_path, str(path), 4, mle_epochs=4, patience=1, lr=0.05)
    perplexity = [row["perplexity"] for row in trial.history]
    first_worse = next(i for i in range(1, 4) if not perplexity[i] < min(perplexity[:i]))
    assert [row["phase"] for row in trial.history] == [0.0] * (first_worse + 1) + [1.0] * (3 - first_worse)


def _worker(rank: int, world: int, rendezvous: str, workdir: str, data: str, params: dict[str, object]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{rendezvous}", rank=rank, world_size=world)
    trial = LocalTrial(Path(workdir), seed=11, max_steps=4, rank=rank, world_size=world, quiet=True)
    train(SMALL | {"data": data} | params, trial)
    Path(f"{workdir}-{rank}.json").write_text(json.dumps(trial.history), encoding="utf-8")
    torch.distributed.barrier()  # gloo's threads may abort a process whose peer is gone already
    torch.distributed.destroy_process_group()


def on_two_workers(folder: Path, data: str, **params: object) -> list[list[dict[str, float]]]:
    """The history of each of two workers; the checkpoint is in `folder/two`."""
    spawn = multiprocessing.get_context("spawn")
    arguments = (2, str(folder / "rendezvous"), str(folder / "two"), data, params)
    workers = [spawn.Process(target=_worker, args=(rank, *arguments)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    return [json.loads((folder / f"two-{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]


def test_two_workers_agree_with_every_part_on_and_clicks_that_the_data_lacks(tmp_path: Path) -> None:
    data = tmp_path / "plain.jsonl"
    rows = [{"title": t, "body": b, "split": s} for s in ("train", "train", "dev") for t, b in EIGHT]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    one, other = on_two_workers(tmp_path, str(data), **(ALL_ON | {"patience": 1, "precision": "bf16"}))
    assert [row["phase"] for row in one] == [row["phase"] for row in other]
    assert [row["perplexity"] for row in one] == [row["perplexity"] for row in other]


def test_two_workers_equal_one_with_the_same_global_batch(tmp_path: Path, pairs: str) -> None:
    two, other = on_two_workers(tmp_path, pairs, dropout=0.0, mle_epochs=3)
    one = run(tmp_path / "one", pairs, 4, dropout=0.0, mle_epochs=3)
    # Teacher forcing is the same sum in another order; 1e-3 leaves room for Adam to spread rounding.
    for here, there in zip(one.history[:3], two[:3], strict=True):
        assert there["perplexity"] == pytest.approx(here["perplexity"], rel=1e-3)
        assert there["entropy"] == pytest.approx(here["entropy"], rel=1e-3)
    # Each worker's loss weighs its rows by its share of all tokens, so that the workers' mean is the whole.
    for here, first, second in zip(one.history[:3], two, other, strict=False):
        mean = (first["train_loss"] + second["train_loss"]) / 2
        assert mean == pytest.approx(here["train_loss"], rel=1e-3)
    # In the adversarial epoch each worker draws headlines of its own.
    assert two[3]["phase"] == 1
    assert two[3]["perplexity"] == pytest.approx(one.history[3]["perplexity"], rel=0.1)
    assert set(load_checkpoint(tmp_path / "two" / "checkpoint").state["learner"]["generator"]) == set(
        load_checkpoint(one.checkpoint).state["learner"]["generator"]
    )


def test_headlines_come_from_the_checkpoint_and_are_keyed_by_the_seed(tmp_path: Path, pairs: str) -> None:
    folder = run(tmp_path, pairs, 4).checkpoint
    articles = ["天地玄黄宇宙洪荒", "短", "从未见过的文字也能抄"]
    first, again, other = (
        generate(folder, articles, n=3, seed=s, decoding=Decoding(temperature=1.0)) for s in (1, 1, 2)
    )
    assert [len(headlines) for headlines in first] == [3, 3, 3]
    assert first == again != other
    assert all(headline for headlines in first for headline in headlines)
    rows = held_out_rows(folder, k=3)
    assert len(rows) == 3
    for row in rows:
        assert 0 <= row.rouge_generated <= 1
    with pytest.raises(ModelError, match="n: 0"):
        generate(folder, articles, n=0)


def test_the_first_sentence_ends_at_its_mark() -> None:
    assert first_sentence("今天,晴。明天雨。") == "今天,晴"
    assert first_sentence("没有句号") == "没有句号"


def test_a_damaged_checkpoint_is_refused(tmp_path: Path, pairs: str) -> None:
    folder = run(tmp_path, pairs, 1).checkpoint
    (folder / "state.pt").write_bytes((folder / "state.pt").read_bytes()[:100])
    with pytest.raises(CheckpointError, match="no whole checkpoint"):
        load_checkpoint(folder)
    with pytest.raises(CheckpointError, match="no whole checkpoint"):
        generate(tmp_path / "nowhere", ["a"])


def test_a_checkpoint_of_other_shapes_is_refused(tmp_path: Path, pairs: str) -> None:
    folder = run(tmp_path / "a", pairs, 1).checkpoint
    with pytest.raises(CheckpointError, match="other shapes"):
        run(tmp_path / "b", pairs, 4, resume=folder, hidden=16)


def test_a_diverged_trial_reports_its_perplexity_as_it_is(tmp_path: Path, pairs: str) -> None:
    first = run(tmp_path / "a", pairs, 2)
    saved = load_checkpoint(first.checkpoint)
    saved.state["learner"]["generator"]["encoder.embed.weight"].fill_(math.nan)
    save_checkpoint(first.checkpoint, saved)
    second = run(tmp_path / "b", pairs, 4, resume=first.checkpoint)
    assert [math.isnan(row["perplexity"]) for row in second.history] == [True, True]


def test_a_checkpoint_with_another_tokenizer_is_refused(tmp_path: Path, pairs: str) -> None:
    folder = run(tmp_path, pairs, 1).checkpoint
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["digests"]["tokenizer.json"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"put the checkpoint's own tokenizer\.json back"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"learning_rate": 1}, "learning_rate: no parameter"),
        ({"hiden": 64}, "did you mean 'hidden'"),
        ({"hidden": "64"}, "hidden: '64' is str, but must be int"),
        ({"hidden": 64.5}, "hidden: 64.5 is float, but must be int"),
        ({"copy": 1}, "copy: 1 is int, but must be bool"),
        ({"lr": True}, "lr: True is bool, but must be float"),
        ({"lr": 0.0}, r"lr: 0.0 is outside \[1e-06, 1\]"),
        ({"lr": math.nan}, "lr: nan is outside"),
        ({"cell": "tcn"}, "cell: 'tcn' is not one of lstm, gru, rnn"),
    ],
)
def test_a_wrong_parameter_is_refused(params: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SeqGANConfig.from_params(params)


def test_whole_floats_and_numpy_scalars_are_taken_as_numbers() -> None:
    import numpy as np

    config = SeqGANConfig.from_params({"hidden": 64.0, "lr": 1, "dropout": np.float32(0.5), "mle_epochs": np.int64(3)})
    assert (config.hidden, config.lr, config.dropout, config.mle_epochs) == (64, 1.0, 0.5, 3)
    assert SeqGANConfig.from_params(config.to_params()) == config


def test_the_command_trains_goes_on_and_explains_errors(
    tmp_path: Path, pairs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [f"--set={name}={value}" for name, value in SMALL.items()]
    common = ["--data", pairs, "--out", str(tmp_path), *small]
    assert main([*common, "--epochs", "1"]) == 0
    assert main([*common, "--epochs", "2", "--resume"]) == 0
    assert "epoch   2" in capsys.readouterr().out
    assert main([*common, "--set", "lr=fast"]) == 2
    assert "error: lr: 'fast' is str, but must be float" in capsys.readouterr().err
