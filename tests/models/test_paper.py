"""The unconditional SeqGAN of the paper: models, rewards and whole trials."""

import collections
import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from models.context import LocalTrial
from models.errors import CheckpointError, ConfigError
from models.seqgan.paper.config import METHODS, OFFICIAL, PaperConfig
from models.seqgan.paper.discriminator import FILTERS, Discriminator
from models.seqgan.paper.language_model import LanguageModel
from models.seqgan.paper.learner import Corpus, Learner
from models.seqgan.paper.metrics import Score, at_entropy, measure
from models.seqgan.paper.rewards import Bleu, constant_reward, rollout_reward
from models.seqgan.paper.training import mle_epoch, policy_update
from models.seqgan.paper.trial import load_checkpoint, train
from models.seqgan.randomness import keyed_generator

V, T = 25, 6
SMALL = {
    "vocabulary": 40, "length": 6, "num_texts": 100, "num_samples": 50, "embedding": 8, "hidden": 8, "batch_size": 16,
    "mle_epochs": 1, "updates": 2, "n_rollouts": 2, "d_pretrain_sets": 1, "d_samples": 32, "d_share": 0.05,
}  # fmt: skip


def rng(*key: int | str) -> torch.Generator:
    return keyed_generator("cpu", *key)


def model(std: float = 1.0) -> LanguageModel:
    return LanguageModel(vocabulary=V, embedding=8, hidden=8, length=T, std=std, rng=rng("model"))


def sharp() -> LanguageModel:
    """A model that always draws its most probable token."""
    result = model()
    with torch.no_grad():
        result.output.weight *= 1e4
        result.output.bias *= 1e4
    return result


def greedy(lm: LanguageModel, prefix: list[int]) -> list[int]:
    """The most probable continuation up to T tokens, all of it computed again for each."""
    text = list(prefix)
    while len(text) < T:
        hidden = lm.lstm(lm.embed(torch.tensor([[0, *text]])))[0]
        text.append(int(lm.output(hidden[0, -1]).argmax()))
    return text


def test_the_nll_equals_the_softmax_over_all_logits_at_any_temperature() -> None:
    lm, texts = model(), torch.randint(0, V, (5, T), generator=rng("texts"))
    inputs = torch.cat([torch.zeros(5, 1, dtype=torch.long), texts[:, :-1]], 1)
    for temperature in (1.0, 0.7):
        logits = lm.output(lm.lstm(lm.embed(inputs))[0]) / temperature
        expected = functional.cross_entropy(logits.flatten(0, 1), texts.flatten(), reduction="none").view(5, T)
        torch.testing.assert_close(lm.nll(texts, temperature=temperature, batch_size=2), expected.detach())


def test_rollouts_and_samples_continue_as_the_lstm_does() -> None:
    lm = sharp()
    texts = torch.randint(0, V, (3, T), generator=rng("texts"))
    done = lm.rollouts(texts, 2, rng=rng("rollouts"))
    assert done.shape == (T - 1, 3, 2, T)
    for t in range(1, T):
        for b in range(3):
            assert done[t - 1, b].tolist() == [greedy(lm, texts[b, :t].tolist())] * 2
    assert lm.sample(2, rng=rng("sample")).tolist() == [greedy(lm, [])] * 2


def test_scheduled_sampling_reads_the_texts_own_tokens_or_the_models() -> None:
    lm = sharp()
    texts = torch.randint(0, V, (4, T), generator=rng("texts"))
    assert lm.mixed_inputs(texts, 1.0, rng=rng("mix")).tolist() == [[0, *text[:-1]] for text in texts.tolist()]
    assert lm.mixed_inputs(texts, 0.0, rng=rng("mix")).tolist() == [[0, *greedy(lm, [])[:-1]]] * 4
    own = lm.mixed_inputs(texts.repeat(500, 1), 0.7, rng=rng("mix"))[:, 1:] == texts.repeat(500, 1)[:, :-1]
    assert own.float().mean().item() == pytest.approx(0.7 + 0.3 / V, abs=0.05)


def test_it_overfits_eight_texts() -> None:
    lm = LanguageModel(vocabulary=V, embedding=16, hidden=32, length=T, std=0.1, rng=rng("model"))
    texts = torch.randint(0, V, (8, T), generator=rng("texts"))
    optimizer = torch.optim.Adam(lm.trained_parameters(), lr=0.02)
    for epoch in range(150):
        mle_epoch(lm, optimizer, texts, batch_size=8, clip=5.0, rng=rng("order", epoch))
    # The first token can't be known: log 8 nats over T positions (less where texts begin alike).
    assert lm.nll(texts)[:, 1:].mean().item() < 0.2
    assert lm.lstm.get_parameter("bias_hh_l0").abs().max() == 0


def loop_bleu(text: list[int], references: list[list[int]]) -> float:
    logs = []
    for n in (1, 2, 3):

        def grams(tokens: list[int], n: int = n) -> collections.Counter[tuple[int, ...]]:
            return collections.Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))

        most: collections.Counter[tuple[int, ...]] = collections.Counter()
        for reference in references:
            most |= grams(reference)
        matches, more = (grams(text) & most).total(), int(n > 1)
        logs.append(math.log((matches + more) / (len(text) - n + 1 + more)) if matches + more else -math.inf)
    return math.exp(sum(logs) / 3)


def test_bleu_equals_a_loop() -> None:
    references = torch.randint(0, 6, (4, 8), generator=rng("references"))
    texts = torch.cat([references[:1], torch.randint(0, 7, (30, 8), generator=rng("texts"))])
    texts[1] = 99
    expected = [loop_bleu(text, references.tolist()) for text in texts.tolist()]
    bleu = Bleu(references, 100)
    torch.testing.assert_close(bleu(texts, batch_size=7), torch.tensor(expected))
    assert (expected[0], expected[1]) == (1.0, 0.0)
    with pytest.raises(ValueError, match="vocabulary: 3000000 is too large for 3-grams"):
        Bleu(references, 3_000_000)


def test_a_token_is_rewarded_by_the_completions_of_its_prefix() -> None:
    lm, texts = sharp(), torch.randint(0, V, (3, T), generator=rng("texts"))
    reward = rollout_reward(lm, lambda texts_RT: texts_RT.float().mean(1), 2)(texts, rng("reward"))
    for b, text in enumerate(texts.tolist()):
        expected = [sum(greedy(lm, text[: t + 1])) / T for t in range(T)]
        assert reward[b].tolist() == pytest.approx(expected)


def plain_discriminator(network: Discriminator, texts: torch.Tensor) -> torch.Tensor:
    """The paper's code with PyTorch's own convolution."""
    embedded = network.embed(texts).transpose(1, 2)
    offset, pooled = 0, []
    for width, weight in zip(network.widths, network.filters, strict=True):
        bias = network.filter_bias[offset : offset + len(weight)]
        offset += len(weight)
        kernel = weight.view(len(weight), width, -1).transpose(1, 2)
        pooled.append(torch.relu(functional.conv1d(embedded, kernel, bias)).amax(2))
    features = torch.cat(pooled, 1)
    gate = torch.sigmoid(network.gate(features))
    return network.output(gate * torch.relu(network.transform(features)) + (1 - gate) * features)


def test_the_discriminator_equals_one_of_ordinary_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Discriminator(vocabulary=V, length=20, rng=rng("d"), embedding=8)
    assert dict(zip(network.widths, map(len, network.filters), strict=True)) == FILTERS
    texts = torch.randint(0, V, (5, 20), generator=rng("texts"))
    torch.testing.assert_close(network(texts), plain_discriminator(network, texts))
    torch.testing.assert_close(network.prob_real(texts[:4]), network(texts[:4]).softmax(1)[:, 1].detach())
    # Enough texts for tables of what each token contributes.
    torch.testing.assert_close(network.prob_real(texts, batch_size=2), network(texts).softmax(1)[:, 1].detach())
    with monkeypatch.context() as patch:
        patch.setattr(network, "forward", None)
        network.prob_real(texts)
    assert Discriminator(vocabulary=V, length=6, rng=rng("d")).widths == [1, 2, 3, 4, 5, 6]


def test_the_discriminators_dropout_is_keyed_and_off_while_scoring() -> None:
    network = Discriminator(vocabulary=V, length=T, rng=rng("d"), embedding=8, share=0.1)
    texts = torch.randint(0, V, (5, T), generator=rng("texts"))
    assert torch.equal(network(texts, rng("drop")), network(texts, rng("drop")))
    assert not torch.equal(network(texts, rng("drop")), network(texts, rng("other")))
    assert not torch.equal(network(texts, rng("drop")), network(texts))


def test_the_discriminators_loss_penalises_the_last_layer_alone() -> None:
    network = Discriminator(vocabulary=V, length=T, rng=rng("d"), embedding=8, share=0.1, keep=1.0)
    texts, real = torch.randint(0, V, (6, T), generator=rng("texts")), torch.arange(6) < 3
    plain = network.loss(texts, real, l2=0.0, dropout=rng("drop"))
    assert plain.item() == pytest.approx(functional.cross_entropy(network(texts), real.long()).item())
    penalty = 0.1 * (network.output.weight.square().sum() + network.output.bias.square().sum())
    assert network.loss(texts, real, l2=0.2, dropout=rng("drop")).item() == pytest.approx((plain + penalty).item())


def test_a_discriminator_in_bf16_is_close_to_one_in_fp32() -> None:
    exact, rounded = (
        Discriminator(vocabulary=V, length=T, rng=rng("d"), embedding=8, share=0.1, bf16=bf16) for bf16 in (False, True)
    )
    texts = torch.randint(0, V, (4, T), generator=rng("texts"))
    assert rounded(texts).dtype == torch.float32
    torch.testing.assert_close(rounded(texts), exact(texts), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("baseline", ["none", "mean"])
def test_the_policy_gradient_is_that_of_the_advantage_weighted_log_probabilities(baseline: str) -> None:
    lm = model()
    optimizer = torch.optim.SGD(lm.trained_parameters(), lr=1.0)
    before = {name: weight.clone() for name, weight in lm.state_dict().items()}

    def reward(texts_BT: torch.Tensor, _: torch.Generator) -> torch.Tensor:
        return texts_BT / V

    policy_update(lm, optimizer, reward, batch_size=4, baseline=baseline, clip=1e9, rng=rng("policy"))
    twin = model()
    texts = twin.sample(4, rng=rng("policy"))
    advantage = texts / V - (texts / V).mean(0) * (baseline == "mean")
    inputs = torch.cat([torch.zeros(4, 1, dtype=torch.long), texts[:, :-1]], 1)
    log_prob = twin.output(twin.lstm(twin.embed(inputs))[0]).log_softmax(-1).gather(2, texts[..., None]).squeeze(2)
    torch.autograd.backward(-(advantage * log_prob).sum())
    for name, parameter in twin.named_parameters():
        if parameter.grad is not None:
            change = before[name] - lm.get_parameter(name)
            torch.testing.assert_close(change, parameter.grad, atol=1e-4, rtol=1e-4)


def test_a_constant_reward_sharpens_without_a_baseline_and_changes_nothing_with_one() -> None:
    entropies = {}
    for baseline in ("none", "mean", "leave_one_out"):
        lm = model(0.5)
        before = {name: weight.clone() for name, weight in lm.state_dict().items()}
        optimizer = torch.optim.Adam(lm.trained_parameters(), lr=0.03)
        for update in range(60):
            key = rng("policy", update)
            policy_update(lm, optimizer, constant_reward(), batch_size=32, baseline=baseline, clip=5.0, rng=key)
        same = all(torch.equal(weight, before[name]) for name, weight in lm.state_dict().items())
        assert same == (baseline != "none")
        entropies[baseline] = lm.nll(lm.sample(500, rng=rng("measure"))).mean().item()
    assert entropies["none"] < entropies["mean"] - 0.1


def test_a_lower_temperature_lowers_the_entropy_and_raises_nothing_but_the_test_nll() -> None:
    oracle = model()
    test_BT = oracle.sample(500, rng=rng("test"))
    warm, cool = (
        measure(oracle, oracle, test_BT, samples=500, rng=rng("measure"), temperature=temperature)
        for temperature in (1.0, 0.5)
    )
    assert warm.nll_oracle == warm.entropy
    assert warm.nll_test == pytest.approx(warm.entropy, abs=0.1)
    assert cool.entropy < warm.entropy
    assert cool.nll_oracle < warm.nll_oracle
    assert cool.nll_test > warm.nll_test


def test_a_curve_is_read_at_an_entropy_by_straight_lines() -> None:
    curve = [Score(8.0, 9.0, 6.0), Score(6.0, 11.0, 4.0), Score(9.0, 8.0, 8.0)]
    assert at_entropy(curve, 5.0) == Score(7.0, 10.0, 5.0)
    assert at_entropy(curve, 7.5) == Score(8.75, 8.25, 7.5)
    assert at_entropy(curve, 1.0) == Score(6.0, 11.0, 4.0)
    assert at_entropy(curve, 99.0) == Score(9.0, 8.0, 8.0)


def run(workdir: Path, steps: int, resume: Path | None = None, **params: object) -> LocalTrial:
    trial = LocalTrial(workdir, seed=11, max_steps=steps, resume=resume, quiet=True)
    train(SMALL | params, trial)
    return trial


def without_time(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_trial_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path, method: str) -> None:
    state = torch.get_rng_state()
    whole = run(tmp_path / "whole", 3, method=method)
    assert torch.equal(state, torch.get_rng_state())
    first = run(tmp_path / "first", 2, method=method)
    second = run(tmp_path / "second", 3, resume=first.checkpoint, method=method)
    assert without_time(first.history + second.history) == without_time(whole.history)
    expected, found = (load_checkpoint(trial.checkpoint)["learner"] for trial in (whole, second))
    for network in {"generator", "discriminator"} & set(expected):
        for name, weight in expected[network].items():
            assert torch.equal(weight, found[network][name]), name


def test_each_method_reports_what_it_trained_by(tmp_path: Path) -> None:
    expected = {
        "mle": {"train_loss"}, "scheduled_sampling": {"train_loss"}, "mle_continued": {"train_loss"},
        "constant_reward": {"reward"}, "pg_bleu": {"reward"}, "seqgan": {"reward", "d_loss"},
    }  # fmt: skip
    always = {"step", "nll_oracle", "nll_test", "entropy", "phase", "seconds"}
    for method, own in expected.items():
        history = run(tmp_path / method, 2, method=method).history
        assert set(history[0]) == always | {"train_loss"}
        assert set(history[1]) == always | own
        assert [row["phase"] for row in history] == [0.0, float(method not in ("mle", "scheduled_sampling"))]
        assert all(math.isfinite(value) for row in history for value in row.values())


def test_the_controls_go_on_from_the_very_same_generator() -> None:
    config = PaperConfig.from_params(SMALL)
    corpus = Corpus.build(config)
    base = Learner(config, corpus, seed=1)
    base.epoch(1)
    first, second = (Learner(config, corpus, seed=2) for _ in range(2))
    first.start_from(base)
    second.start_from(base)
    assert first.epoch(2) == second.epoch(2)
    assert base.measure(1) != first.measure(1)
    assert first.measure(1) == second.measure(1)


def test_several_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="workers: 2 workers, but these small models train in one"):
        train(SMALL, LocalTrial(tmp_path, world_size=2))


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", 1).checkpoint
    with pytest.raises(CheckpointError, match="but seqgan has discriminator"):
        run(tmp_path / "b", 2, resume=folder, method="seqgan")
    with pytest.raises(CheckpointError, match="of other shapes"):
        run(tmp_path / "b", 2, resume=folder, hidden=9)
    (folder / "state.pt").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="no whole checkpoint"):
        run(tmp_path / "b", 2, resume=folder)


def test_the_configuration_is_checked() -> None:
    for params, message in [
        ({"learning_rate": 1}, "learning_rate: no parameter of the oracle's models"),
        ({"hidden": 64.5}, "hidden: 64.5 is float, but must be int"),
        ({"lr": 0.0}, r"lr: 0.0 is outside \[1e-06, 1\]"),
        ({"method": "gan"}, "method: 'gan' is not one of mle"),
    ]:
        with pytest.raises(ConfigError, match=message):
            PaperConfig.from_params(params)
    config = PaperConfig.from_params(OFFICIAL | {"hidden": 16.0, "lr": 1})
    assert (config.hidden, config.lr, config.d_pretrain_sets) == (16, 1.0, 50)
    assert PaperConfig.from_params(config.to_params()) == config
