"""The generator, its draws and its rollouts."""

import math
from dataclasses import replace

import pytest
import torch

from models.seqgan.config import SeqGANConfig
from models.seqgan.discriminator import Discriminator
from models.seqgan.encoder import MaskedNorm, shifted
from models.seqgan.generator import DecoderState, Generator
from models.seqgan.metrics import held_out, unigram_perplexity
from models.seqgan.randomness import keyed_generator
from models.seqgan.rollout import complete_prefixes, mask_through_end, rollout_reward, sample_headlines
from models.text.encoded import EncodedPairs
from models.text.pieces import BOS, END, PAD, UNK

V, S, T, B = 20, 9, 7, 6
CELLS = ["lstm", "gru", "rnn"]
PRIORS = {"hot_words": "tfidf", "num_hot_words": 5, "history_length": 3, "clicks": True}


def config(**params: object) -> SeqGANConfig:
    small = {"hidden": 8, "embedding": 6, "article_length": S, "headline_length": T, "d_channels": 4}
    return SeqGANConfig.from_params(small | params)


def generator(**params: object) -> Generator:
    torch.manual_seed(1)
    made = Generator(config(**params), V).eval()
    # Far from uniform, so that a mistake shows.
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.6)
    with torch.no_grad():
        made.embed_weight[PAD].zero_()
    return made


def batch() -> EncodedPairs:
    rng = keyed_generator("cpu", "batch")
    articles = torch.randint(4, V, (B, S), generator=rng)
    articles[:, 3] = V + 3
    articles[1, 5:] = PAD
    headlines = torch.randint(4, V, (B, T), generator=rng)
    headlines[:, 2] = V + 3
    for row, end in enumerate((2, 4, 6, 1, 5)):
        headlines[row, end], headlines[row, end + 1 :] = END, PAD
    clicks = torch.randn(B, 8, generator=rng)
    clicks[:, 4:] = 1.0
    clicks[2] = 0.0
    history = torch.randint(4, V, (B, 3), generator=rng)
    history[0, 1:], history[3] = PAD, PAD
    hot = torch.rand(B, S, generator=rng) < 0.3
    targets = torch.tensor([[0, 2], [1, -1], [-1, -1], [3, 4], [0, -1], [2, -1]])
    return EncodedPairs(
        articles,
        headlines,
        hot_NS=hot & articles.ne(PAD),
        history_NL=history,
        click_NF=clicks,
        hot_targets_NK=targets,
        vocabulary=V,
        num_hot_words=5,
    )


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("copy", [True, False])
def test_the_next_token_distribution_sums_to_one_and_agrees_with_the_scores(cell: str, copy: bool) -> None:
    model, pairs = generator(cell=cell, copy=copy), batch()
    memory = model.encode(pairs)
    reading = model.read(model.forced_states(pairs.headlines_NT, memory), memory)
    prob = model.distribution(reading, memory)
    assert prob.shape == (B, T, V + S)
    torch.testing.assert_close(prob.sum(-1), torch.ones(B, T))
    assert prob[..., [PAD, BOS]].max() < 1e-6
    chosen = prob.gather(-1, pairs.headlines_NT.unsqueeze(-1)).squeeze(-1).log()
    scores = model(pairs, with_entropy=True)
    if not copy:
        unknown = prob[..., UNK].log()
        chosen = torch.where(pairs.headlines_NT.ge(V), unknown, chosen)
    written = pairs.headlines_NT.ne(PAD)
    torch.testing.assert_close(scores.log_prob_BT[written], chosen[written], rtol=1e-4, atol=1e-4)
    assert scores.log_prob_BT[pairs.headlines_NT.eq(PAD)].abs().max() == 0
    entropy = -(prob * prob.clamp_min(1e-12).log()).sum(-1)
    torch.testing.assert_close(scores.entropy_BT, entropy * pairs.headlines_NT.ne(PAD))


@pytest.mark.parametrize("cell", CELLS)
def test_step_by_step_states_equal_those_of_teacher_forcing(cell: str) -> None:
    model, pairs = generator(cell=cell), batch()
    memory, inputs = model.encode(pairs), shifted(pairs.headlines_NT)
    forced = model.forced_states(pairs.headlines_NT, memory)
    state = model.start(memory)
    for t in range(T):
        state = model.step(inputs[:, t : t + 1], state)
        torch.testing.assert_close(state.hidden_KBQH[0], forced.hidden_KBQH[0][:, t : t + 1])
        assert torch.equal(state.last_BQ, forced.last_BQ[:, t : t + 1])
        assert torch.equal(state.second_BQ, forced.second_BQ[:, t : t + 1])


def test_an_article_reads_the_same_alone_and_beside_longer_ones() -> None:
    model, pairs = generator(**PRIORS), batch()
    together, alone = model.encode(pairs), model.encode(pairs.select(torch.tensor([1])))
    assert alone.states_BSH.shape[1] == 5
    torch.testing.assert_close(together.states_BSH[1:2, :5], alone.states_BSH)
    torch.testing.assert_close(together.initial_KBH[:, 1:2], alone.initial_KBH)


def test_several_headlines_an_article_score_as_one_by_one() -> None:
    model, pairs = generator(), batch()
    other = pairs.headlines_NT.roll(1, 0)
    both = model(pairs, torch.cat([pairs.headlines_NT, other])).log_prob_BT
    torch.testing.assert_close(both[:B], model(pairs).log_prob_BT)
    torch.testing.assert_close(both[B:], model(pairs, other).log_prob_BT)


@pytest.mark.parametrize("prior", ["hot_NS", "history_NL", "click_NF"])
def test_each_prior_changes_the_scores_and_its_absence_counts_as_nothing(prior: str) -> None:
    model, pairs = generator(**PRIORS), batch()
    given = model(pairs).log_prob_BT
    without = model(replace(pairs, **{prior: None})).log_prob_BT
    assert (given - without).abs().max() > 1e-3
    nothing = torch.zeros_like(getattr(pairs, prior))
    torch.testing.assert_close(model(replace(pairs, **{prior: nothing})).log_prob_BT, without)


def test_a_prior_that_is_always_dropped_in_training_changes_nothing_there() -> None:
    model, pairs = generator(**PRIORS, dropout=0.0), batch()
    model.train()
    model.encoder.prior_dropout = 1.0
    bare = replace(pairs, hot_NS=None, history_NL=None, click_NF=None)
    torch.testing.assert_close(model(pairs).log_prob_BT, model(bare).log_prob_BT)


def test_an_article_without_text_is_never_copied_from() -> None:
    model, pairs = generator(), batch()
    empty = replace(pairs, articles_NS=torch.zeros_like(pairs.articles_NS))
    memory = model.encode(empty)
    prob = model.distribution(model.read(model.begin(memory), memory), memory)
    torch.testing.assert_close(prob.sum(-1), torch.ones(B, 1))
    assert prob[..., V:].max() == 0
    assert prob[..., PAD].max() < 1e-6


def test_the_auxiliary_loss_by_hand() -> None:
    model, pairs = generator(**PRIORS, lambda_aux=1.0), batch()
    pooled = model.encode(pairs).pooled_BH
    loss = model(pairs).aux_B
    for b in range(B):
        logits = model.hot_head(pooled[b])
        wanted = [float(w in pairs.hot_targets_NK[b]) for w in range(5)]
        cross = sum(
            math.log1p(math.exp(-x)) if y else math.log1p(math.exp(x))
            for x, y in zip(logits.tolist(), wanted, strict=True)
        )
        words = pairs.headlines_NT[b][pairs.headlines_NT[b].ne(PAD)]
        rate = model.click_head(torch.cat([pooled[b], model.embed(words).mean(0)])).item()
        present, target = pairs.click_NF[b, 4].item(), pairs.click_NF[b, 0].item()
        assert loss[b].item() == pytest.approx(cross + present * (rate - target) ** 2, rel=1e-4)


def test_batch_norm_ignores_padding_and_takes_no_statistics_when_frozen() -> None:
    norm = MaskedNorm("batch", 3)
    states, mask = torch.randn(4, 5, 3), torch.arange(5).expand(4, 5) < torch.tensor([[5], [3], [1], [2]])
    normed = norm(states, mask)
    torch.testing.assert_close(normed[mask].mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    assert normed[~mask].abs().max() == 0
    before = norm.norm.running_mean.clone()
    norm.frozen = True
    norm.train()
    norm(states * 5 + 3, mask)
    assert torch.equal(norm.norm.running_mean, before)


@pytest.mark.parametrize("norm", ["layer", "batch", "none"])
def test_every_norm_trains(norm: str) -> None:
    model, pairs = generator(norm=norm).train(), batch()
    torch.autograd.backward(-model(pairs).log_prob_BT.sum())
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters() if weight.grad is not None)
    assert model.encoder.embed.weight.grad.abs().sum() > 0


def test_bfloat16_scores_are_near_those_of_float32() -> None:
    model, pairs = generator(**PRIORS), batch()
    exact = model(pairs, with_entropy=True)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(pairs, with_entropy=True)
    assert rough.log_prob_BT.dtype == rough.entropy_BT.dtype == torch.float32
    torch.testing.assert_close(rough.log_prob_BT, exact.log_prob_BT, rtol=0.05, atol=0.3)
    torch.testing.assert_close(rough.entropy_BT, exact.entropy_BT, rtol=0.05, atol=0.1)


def test_draws_follow_the_distribution() -> None:
    model = generator()
    memory = model.encode(batch().select(torch.tensor([0])))
    begun = model.begin(memory)
    drawn = model.draw(begun.repeat(40_000), memory, keyed_generator("cpu", "draws"))
    prob = model.distribution(model.read(begun, memory), memory).flatten()
    share = torch.bincount(drawn.flatten(), minlength=V + S) / 40_000
    # Five standard errors of a share.
    assert ((share - prob).abs() <= 5 * (prob * (1 - prob) / 40_000).sqrt() + 1e-6).all()


def test_positions_that_follow_the_last_tokens_in_the_article_draw_attention() -> None:
    model, pairs = generator(), batch()
    memory = model.encode(pairs)
    article = pairs.articles_NS[0].tolist()
    state = DecoderState(torch.zeros(1, B, 1, 8), pairs.articles_NS[:, 4:5], pairs.articles_NS[:, 3:4])
    follows = [s for s in range(1, S) if article[s - 1] == article[4]]
    with torch.no_grad():
        model.follow_2.copy_(torch.tensor([50.0, 0.0]))
    assert model.read(state, memory).attention_BQS[0, 0, follows].sum().item() == pytest.approx(1.0)
    with torch.no_grad():
        model.follow_2.copy_(torch.tensor([0.0, 50.0]))
    both = [s for s in range(2, S) if article[s - 2 : s] == article[3:5]]
    assert 5 in both
    assert model.read(state, memory).attention_BQS[0, 0, both].sum().item() == pytest.approx(1.0)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("stride", [1, 3])
def test_rollouts_keep_every_prefix_and_end_once(cell: str, stride: int) -> None:
    model, pairs = generator(cell=cell), batch()
    memory = model.encode(pairs)
    done = complete_prefixes(model, memory, pairs.headlines_NT, 4, stride, keyed_generator("cpu", "r"))
    lengths = list(range(1, T, stride))
    assert done.shape == (B, len(lengths), 4, T)
    for p, length in enumerate(lengths):
        prefix = pairs.headlines_NT[:, None, :length].expand(-1, 4, -1)
        assert torch.equal(done[:, p, :, :length], prefix)
    assert (done[mask_through_end(done) == 0] == PAD).all()
    assert (done[mask_through_end(done) == 1] != PAD).all()
    # The longest article's shortest prefix is completed in more than one way.
    assert len({tuple(row) for row in done[5, 0].tolist()}) > 1


def test_rollouts_draw_from_the_same_distribution_as_sampling() -> None:
    model = generator()
    n = 3000
    pairs = batch().select(torch.tensor([5]))
    memory, headline = model.encode(pairs), batch().headlines_NT[5:6]
    done = complete_prefixes(model, memory, headline, n, 1, keyed_generator("cpu", "many"))
    reading = model.read(model.forced_states(headline, memory), memory)
    prob_TX = model.distribution(reading, memory)[0]
    for p in (0, 2):
        # The prefix of length p + 1 is completed by a draw at position p + 1.
        prob = prob_TX[p + 1]
        share = torch.bincount(done[0, p, :, p + 1], minlength=prob.shape[-1]) / n
        assert ((share - prob).abs() <= 5 * (prob * (1 - prob) / n).sqrt() + 1e-6).all()


def test_the_reward_of_a_token_is_that_of_the_first_completed_prefix_that_holds_it() -> None:
    model, pairs = generator(), batch()
    judge = Discriminator(config(), V).eval()
    memory = model.encode(pairs)
    arguments = (model, memory, pairs.headlines_NT, 2, 3)
    done = complete_prefixes(*arguments, keyed_generator("cpu", "x"))
    reward = rollout_reward(model, judge, memory, pairs.headlines_NT, n=2, stride=3, rng=keyed_generator("cpu", "x"))
    prefix_of_token = [0, 1, 1, 1, None, None, None]
    for b in range(B):
        end = int(mask_through_end(pairs.headlines_NT)[b].sum())
        for t, p in enumerate(prefix_of_token):
            rows = pairs.headlines_NT[b : b + 1] if p is None else done[b, p]
            articles = pairs.articles_NS[b : b + 1].expand(len(rows), -1)
            expected = torch.sigmoid(judge(articles, rows)).mean().item() if t < end else 0.0
            assert reward[b, t].item() == pytest.approx(expected, abs=1e-6)


def test_one_token_headlines_are_rewarded_as_a_whole() -> None:
    model, pairs = generator(), batch()
    judge = Discriminator(config(), V).eval()
    memory = model.encode(pairs)
    heads = torch.full((B, 1), END)
    reward = rollout_reward(model, judge, memory, heads, n=2, stride=1, rng=keyed_generator("cpu", "x"))
    torch.testing.assert_close(reward[:, 0], torch.sigmoid(judge(pairs.articles_NS, heads)))


def test_sampled_headlines_are_padded_after_their_end_and_keyed_by_the_seed() -> None:
    model, pairs = generator(), batch()
    memory = model.encode(pairs)
    first, again, other = (sample_headlines(model, memory, T, keyed_generator("cpu", key)) for key in ("a", "a", "b"))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert (first[mask_through_end(first) == 0] == PAD).all()


def test_the_discriminator_sees_the_article_and_not_how_a_batch_was_padded() -> None:
    judge = Discriminator(config(), V).eval()
    pairs = batch()
    short = pairs.headlines_NT[:, :3].clone()
    padded = torch.nn.functional.pad(short, (0, 4))
    torch.testing.assert_close(judge(pairs.articles_NS, short), judge(pairs.articles_NS, padded))
    assert (judge(pairs.articles_NS, short) - judge(pairs.articles_NS.roll(1, 0), short)).abs().min() > 0


def test_perplexity_is_that_of_all_characters_and_ends() -> None:
    model, pairs = generator(), batch()
    total, count = 0.0, 0
    for b in range(B):
        length = int(pairs.headlines_NT[b].ne(PAD).sum())
        scores = model(pairs.select(torch.tensor([b])), pairs.headlines_NT[b : b + 1, :length])
        total, count = total - scores.log_prob_BT.sum().item(), count + length
    assert held_out(model, pairs, batch_size=4).perplexity == pytest.approx(math.exp(total / count), rel=1e-4)


@pytest.mark.parametrize("copy", [True, False])
def test_what_the_model_cannot_write_is_spelled(copy: bool) -> None:
    model, pairs = generator(copy=copy), batch()
    plain = held_out(model, pairs)
    unknown = held_out(model, replace(pairs, unknown_N=torch.full((B,), 2)))
    pieces = int(pairs.headlines_NT.ne(PAD).sum())
    # Two more characters a headline, each of them one of 20,992; without a copy gate those of the article count too.
    assert math.log(unknown.perplexity / plain.perplexity) == pytest.approx(2 * B * math.log(20_992) / pieces)
    only_copied = int(pairs.headlines_NT.ge(V).sum())
    spelled = math.log(plain.perplexity) - plain.nll
    assert spelled == pytest.approx(0 if copy else only_copied * math.log(20_992) / pieces, abs=1e-6)


def test_unigram_perplexity_by_hand() -> None:
    tokens = torch.tensor([[4, END]])
    pairs = EncodedPairs(tokens, tokens)
    # Vocabulary of 5 with add-one smoothing; <pad> never counts: 1, 2, 1, 2 of 6.
    assert unigram_perplexity(pairs, pairs, 5) == pytest.approx(3.0)
