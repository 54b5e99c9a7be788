"""The generator, its draws and its rollouts."""

import math

import pytest
import torch

from models.seqgan.config import SeqGANConfig
from models.seqgan.discriminator import Discriminator
from models.seqgan.generator import Generator, shifted
from models.seqgan.metrics import held_out, unigram_perplexity
from models.seqgan.randomness import keyed_generator
from models.seqgan.rollout import complete_prefixes, draw_tokens, mask_through_end, rollout_reward, sample_headlines
from models.seqgan.sample import decode
from models.text.characters import BOS, END, PAD, UNK
from models.text.encoded import EncodedPairs

V, S, T, B = 20, 9, 7, 6


def config(**params: object) -> SeqGANConfig:
    small = {"hidden": 8, "embedding": 6, "article_length": S, "headline_length": T, "d_channels": 4}
    return SeqGANConfig.from_params(small | params)


def generator(**params: object) -> Generator:
    torch.manual_seed(1)
    made = Generator(config(**params), V).eval()
    # Far from uniform, so that a mistake shows.
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.6)
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
    return EncodedPairs(articles, headlines)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("copy", [True, False])
def test_the_next_token_distribution_sums_to_one_and_agrees_with_the_scores(cell: str, copy: bool) -> None:
    model, pairs = generator(cell=cell, copy=copy), batch()
    memory = model.encode(pairs.articles_NS)
    inputs = shifted(pairs.headlines_NT)
    reading = model.read(model.forced_states(inputs, memory), inputs, memory)
    prob = model.distribution(reading, memory)
    assert prob.shape == (B, T, V + S)
    torch.testing.assert_close(prob.sum(-1), torch.ones(B, T))
    assert prob[..., [PAD, BOS]].max() < 1e-6
    chosen = prob.gather(-1, pairs.headlines_NT.unsqueeze(-1)).squeeze(-1).log()
    scores = model(pairs.articles_NS, pairs.headlines_NT, with_entropy=True)
    if not copy:
        unknown = prob[..., UNK].log()
        chosen = torch.where(pairs.headlines_NT.ge(V), unknown, chosen)
    written = pairs.headlines_NT.ne(PAD)
    torch.testing.assert_close(scores.log_prob_BT[written], chosen[written], rtol=1e-4, atol=1e-4)
    assert scores.log_prob_BT[pairs.headlines_NT.eq(PAD)].abs().max() == 0
    entropy = -(prob * prob.clamp_min(1e-12).log()).sum(-1)
    torch.testing.assert_close(scores.entropy_BT, entropy * pairs.headlines_NT.ne(PAD))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_step_by_step_states_equal_those_of_teacher_forcing(cell: str) -> None:
    model, pairs = generator(cell=cell), batch()
    memory, inputs = model.encode(pairs.articles_NS), shifted(batch().headlines_NT)
    state = memory.initial_KBH.unsqueeze(2)
    for t in range(T):
        state = model.step(inputs[:, t : t + 1], state)
        expected = model.forced_states(inputs[:, : t + 1], memory)[:, -1:]
        torch.testing.assert_close(state[0], expected)


def test_draws_follow_the_distribution() -> None:
    model = generator()
    articles = batch().articles_NS[:1]
    memory = model.encode(articles)
    start = torch.full((1, 40_000), BOS)
    state = model.step(start[:, :1], memory.initial_KBH.unsqueeze(2))
    states = state[0].expand(1, 40_000, -1)
    drawn = draw_tokens(model, states, start, memory, keyed_generator("cpu", "draws"))
    prob = model.distribution(model.read(state[0], start[:, :1], memory), memory).flatten()
    share = torch.bincount(drawn.flatten(), minlength=V + S) / 40_000
    # Five standard errors of a share.
    assert ((share - prob).abs() <= 5 * (prob * (1 - prob) / 40_000).sqrt() + 1e-6).all()


def test_a_position_that_follows_the_last_token_in_the_article_draws_attention() -> None:
    model, pairs = generator(), batch()
    memory = model.encode(pairs.articles_NS)
    inputs = pairs.articles_NS[:, 4:5]
    states = torch.zeros(B, 1, 8)
    with torch.no_grad():
        model.follow.fill_(50.0)
    attention = model.read(states, inputs, memory).attention_BQS[0, 0]
    following = [s for s in range(1, S) if pairs.articles_NS[0, s - 1] == inputs[0]]
    assert attention[following].sum().item() == pytest.approx(1.0)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("stride", [1, 3])
def test_rollouts_keep_every_prefix_and_end_once(cell: str, stride: int) -> None:
    model, pairs = generator(cell=cell), batch()
    memory = model.encode(pairs.articles_NS)
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
    model, pairs = generator(), batch()
    n = 3000
    memory = model.encode(pairs.articles_NS[:1])
    headline = pairs.headlines_NT[5:6]
    done = complete_prefixes(model, memory, headline, n, 1, keyed_generator("cpu", "many"))
    for p in (0, 2):
        inputs = shifted(headline)[:, : p + 2]
        reading = model.read(model.forced_states(inputs, memory), inputs, memory)
        prob = model.distribution(reading, memory)[0, -1]
        share = torch.bincount(done[0, p, :, p + 1], minlength=V + S) / n
        assert ((share - prob).abs() <= 5 * (prob * (1 - prob) / n).sqrt() + 1e-6).all()


def test_the_reward_of_a_token_is_that_of_the_first_completed_prefix_that_holds_it() -> None:
    model, pairs = generator(), batch()
    judge = Discriminator(config(), V).eval()
    memory = model.encode(pairs.articles_NS)
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
    memory = model.encode(pairs.articles_NS)
    heads = torch.full((B, 1), END)
    reward = rollout_reward(model, judge, memory, heads, n=2, stride=1, rng=keyed_generator("cpu", "x"))
    torch.testing.assert_close(reward[:, 0], torch.sigmoid(judge(pairs.articles_NS, heads)))


def test_sampled_headlines_are_padded_after_their_end_and_keyed_by_the_seed() -> None:
    model, pairs = generator(), batch()
    memory = model.encode(pairs.articles_NS)
    first, again, other = (sample_headlines(model, memory, T, keyed_generator("cpu", key)) for key in ("a", "a", "b"))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert (first[mask_through_end(first) == 0] == PAD).all()
    greedy = decode(model, memory, T, 0.0, keyed_generator("cpu", "a"))
    assert torch.equal(greedy, decode(model, memory, T, 0.0, keyed_generator("cpu", "b")))


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
        scores = model(pairs.articles_NS[b : b + 1], pairs.headlines_NT[b : b + 1, :length])
        total, count = total - scores.log_prob_BT.sum().item(), count + length
    assert held_out(model, pairs, batch_size=4).perplexity == pytest.approx(math.exp(total / count), rel=1e-4)


def test_unigram_perplexity_by_hand() -> None:
    tokens = torch.tensor([[4, END]])
    pairs = EncodedPairs(tokens, tokens)
    # Vocabulary of 5 with add-one smoothing; <pad> never counts: 1, 2, 1, 2 of 6.
    assert unigram_perplexity(pairs, pairs, 5) == pytest.approx(3.0)
