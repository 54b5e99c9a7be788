"""How pieces are chosen: draws, cut-offs, constraints, beam search."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from models.errors import ModelError
from models.seqgan.config import SeqGANConfig
from models.seqgan.decoding import Decoding, allowed, beam_search, decode, draw_from, repeats, sharpened
from models.seqgan.encoder import Memory
from models.seqgan.generator import Generator
from models.seqgan.randomness import keyed_generator
from models.text.encoded import EncodedPairs
from models.text.pieces import BOS, END, PAD, UNK

V, S, T, B = 20, 9, 7, 6
DRAWN = Decoding(temperature=1.0)


def generator(vocabulary: int = V) -> Generator:
    torch.manual_seed(1)
    made = Generator(SeqGANConfig.from_params({"hidden": 8, "embedding": 6, "headline_length": T}), vocabulary).eval()
    # Far from uniform, so that a mistake shows.
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.6)
    return made


def memory_of(model: Generator, articles: int = B, length: int = S) -> Memory:
    vocabulary = model.vocabulary
    ids_BS = torch.randint(4, vocabulary, (articles, length), generator=keyed_generator("cpu", "articles"))
    ids_BS[:, 2] = vocabulary + 2
    pairs = EncodedPairs(ids_BS, torch.full((articles, 1), END))
    with torch.no_grad():
        return model.encode(pairs)


def rngs(rows: range) -> list[torch.Generator]:
    return [keyed_generator("cpu", "row", row) for row in rows]


def scores(model: Generator, memory: Memory, headlines: list[list[int]]) -> list[float]:
    """Mean log-probability a piece of headlines of article 0, step by step."""
    found = []
    for headline in headlines:
        state, total = model.begin(memory), 0.0
        for token in headline:
            total += float(model.distribution(model.read(state, memory), memory)[0, 0, token].log())
            state = model.step(torch.tensor([[token]]), state)
        found.append(total / len(headline))
    return found


@torch.no_grad()
def test_at_temperature_0_the_likeliest_piece_that_may_stand_there_is_taken() -> None:
    model = generator()
    memory = memory_of(model)
    written_BT = decode(model, memory, T, Decoding(no_repeat_ngram=0), rng=())
    for b in range(B):
        one, state = memory.select(torch.tensor([b])), model.begin(memory.select(torch.tensor([b])))
        for t, token in enumerate(written_BT[b].tolist()):
            if token == PAD:
                assert written_BT[b, :t].eq(END).any()
                continue
            prob_X = model.distribution(model.read(state, one), one)[0, 0]
            prob_X[[PAD, BOS, UNK] + ([END] if t == 0 else [])] = 0
            assert token == int(prob_X.argmax())
            state = model.step(torch.tensor([[token]]), state)


def test_draws_hit_each_entry_as_often_as_it_is_probable_and_none_that_is_impossible() -> None:
    prob_X = torch.tensor([0.0, 0.25, 0.0, 0.5, 0.25, 0.0])
    uniform_B = torch.cat([(torch.arange(1000) + 0.5) / 1000, torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)])
    drawn = draw_from(prob_X.expand(len(uniform_B), -1), uniform_B)
    assert drawn[:1000].bincount(minlength=6).tolist() == [0, 250, 0, 500, 250, 0]
    assert drawn[1000:].tolist() == [1, 4]


@pytest.mark.parametrize(
    ("decoding", "expected"),
    [
        (Decoding(temperature=1.0), [0.5, 0.05, 0.3, 0.15]),
        (Decoding(temperature=0.5), [0.25 / 0.365, 0.0025 / 0.365, 0.09 / 0.365, 0.0225 / 0.365]),
        (Decoding(temperature=1e-40), [1.0, 0.0, 0.0, 0.0]),
        (Decoding(temperature=1.0, top_k=3), [0.5, 0.0, 0.3, 0.15]),
        (Decoding(temperature=1.0, top_k=99), [0.5, 0.05, 0.3, 0.15]),
        # The fewest that hold 0.6 are two; the fewest of the two likeliest that hold half of theirs are one.
        (Decoding(temperature=1.0, top_p=0.6), [0.5, 0.0, 0.3, 0.0]),
        (Decoding(temperature=1.0, top_p=1e-9), [0.5, 0.0, 0.0, 0.0]),
        (Decoding(temperature=1.0, top_k=2, top_p=0.6), [0.5, 0.0, 0.0, 0.0]),
    ],
)
def test_temperature_top_k_and_top_p_by_hand(decoding: Decoding, expected: list[float]) -> None:
    prob_BX = torch.tensor([[0.5, 0.05, 0.3, 0.15]])
    torch.testing.assert_close(sharpened(prob_BX, decoding), torch.tensor([expected]))


def loop_over_repeats(written: list[int], size: int) -> set[int]:
    grams = {tuple(written[i : i + size]) for i in range(len(written) - size + 1)}
    return {token for token in range(30) if tuple([*written, token][-size:]) in grams}


@pytest.mark.parametrize("size", [1, 2, 3, 9])
def test_the_pieces_that_would_repeat_an_n_gram_equal_those_of_a_loop(size: int) -> None:
    written_BT = torch.randint(0, 3, (B, 8), generator=keyed_generator("cpu", "written"))
    row_M, token_M = repeats(written_BT, size)
    for b in range(B):
        assert set(token_M[row_M == b].tolist()) == loop_over_repeats(written_BT[b].tolist(), size)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("decoding", [{"temperature": 0.3}, {"beam": 4}, {}])
def test_no_n_gram_comes_twice_in_a_headline(decoding: dict[str, float], size: int) -> None:
    model = generator()
    model.bias_V.data[END] = -30.0
    chosen = Decoding(no_repeat_ngram=size, **decoding)  # type: ignore[arg-type]
    written_BT = decode(model, memory_of(model), 16, chosen, rngs(range(B)))
    free = Decoding(no_repeat_ngram=0, **decoding)  # type: ignore[arg-type]
    free_BT = decode(model, memory_of(model), 16, free, rngs(range(B)))
    assert not torch.equal(written_BT, free_BT)
    for row in written_BT.tolist():
        text = [token for token in row if token not in (END, PAD)]
        grams = (
            list(itertools.pairwise(text)) if size == 2 else list(zip(*(text[i:] for i in range(size)), strict=False))
        )
        assert len(grams) == len(set(grams))


def test_a_headline_ends_where_constraints_leave_nothing() -> None:
    prob_BX = torch.zeros(1, V)
    prob_BX[0, [UNK, 7]] = 0.5
    assert allowed(prob_BX, torch.tensor([[7]]), 1).nonzero().tolist() == [[0, END]]
    model = generator()
    # `<end>` alone can never be chosen; each piece can come once.
    model.bias_V.data[END] = -1e4
    written_BT = decode(model, memory_of(model), 60, Decoding(no_repeat_ngram=1), rng=())
    length_B = written_BT.ne(PAD).sum(1)
    assert length_B.tolist() == [V - 4 + 1 + 1] * B
    assert written_BT.gather(1, (length_B - 1).unsqueeze(1)).eq(END).all()


@pytest.mark.parametrize(
    "decoding", [DRAWN, Decoding(temperature=10.0), Decoding(temperature=1.0, top_k=4), Decoding(beam=5)]
)
def test_special_pieces_are_never_written_and_padding_follows_the_end(decoding: Decoding) -> None:
    model = generator()
    model.bias_V.data[[PAD, BOS, END, UNK]] = 4.0
    model.gate.bias.data += 3.0
    written_BT = decode(model, memory_of(model), 25, decoding, keyed_generator("cpu", "draws"))
    assert not written_BT.eq(BOS).any()
    assert not written_BT.eq(UNK).any()
    assert not written_BT[:, 0].eq(END).any()
    after_BT = written_BT.eq(END).cumsum(1) - written_BT.eq(END).long()
    assert torch.equal(written_BT.eq(PAD), after_BT.gt(0))
    assert written_BT.eq(END).any()


def test_a_headline_does_not_hang_on_its_batch_mates_nor_on_how_long_others_may_be() -> None:
    model = generator()
    memory = memory_of(model)
    together_BT = decode(model, memory, T, DRAWN, rngs(range(B)))
    for b in range(B):
        alone_BT = decode(model, memory.select(torch.tensor([b])), T, DRAWN, rngs(range(b, b + 1)))
        assert torch.equal(alone_BT[0], together_BT[b])
    shorter = decode(model, memory, T, Decoding(temperature=1.0, max_length=3), rngs(range(B)))
    assert torch.equal(shorter, together_BT[:, :3])
    with pytest.raises(ModelError, match="rng: 2 generators for 6 rows"):
        decode(model, memory, T, DRAWN, rngs(range(2)))


@pytest.mark.parametrize("decoding", [Decoding(), DRAWN, Decoding(beam=3)])
def test_given_pieces_begin_a_headline_and_an_ended_one_stays(decoding: Decoding) -> None:
    model = generator()
    memory = memory_of(model)
    prefix_BP = torch.tensor([[5, 6, 7]] * (B - 1) + [[5, END, PAD]])
    written_BT = decode(model, memory, T, decoding, keyed_generator("cpu", "x"), prefix_BP)
    assert torch.equal(written_BT[:, :3], prefix_BP)
    assert written_BT[-1].tolist() == [5, END, *[PAD] * (T - 2)]
    assert written_BT[:-1, 3].ne(PAD).all()
    with pytest.raises(ModelError, match="prefix: 3 pieces are given, but a headline has 2"):
        decode(model, memory, 2, decoding, keyed_generator("cpu", "x"), prefix_BP)


def test_greedy_from_its_own_prefix_goes_on_as_before() -> None:
    model = generator()
    memory = memory_of(model)
    whole_BT = decode(model, memory, T, Decoding(), rng=())
    assert torch.equal(decode(model, memory, T, Decoding(), (), whole_BT[:, :4]), whole_BT)


def every_headline(pieces: list[int], length: int) -> list[list[int]]:
    ended = [[*text, END] for n in range(1, length) for text in itertools.product(pieces, repeat=n)]
    return ended + [list(text) for text in itertools.product(pieces, repeat=length)]


@torch.no_grad()
def test_a_beam_that_is_wide_enough_finds_the_best_of_all_headlines() -> None:
    model = generator(vocabulary=8)
    memory = memory_of(model, articles=1, length=4)
    pieces = sorted({4, 5, 6, 7} | {int(i) for i in memory.source_BS[0]})
    headlines = every_headline(pieces, 3)
    ranked = sorted(zip(scores(model, memory, headlines), headlines, strict=True), reverse=True)
    found = beam_search(model, memory, 3, Decoding(beam=64))
    for q in range(5):
        score, headline = ranked[q]
        assert [i for i in found.tokens_BQT[0, q].tolist() if i != PAD] == headline
        assert float(found.score_BQ[0, q]) == pytest.approx(score, abs=1e-5)
    assert torch.equal(decode(model, memory, 3, Decoding(beam=64), ()), found.tokens_BQT[:, 0])


def test_beams_without_a_headline_are_empty_and_last() -> None:
    model = generator(vocabulary=8)
    memory = memory_of(model, articles=2, length=4)
    found = beam_search(model, memory, 1, Decoding(beam=20))
    headlines = found.tokens_BQT.ne(PAD).sum((1, 2))
    assert headlines.tolist() == [len({4, 5, 6, 7} | set(memory.source_BS[b].tolist())) for b in range(2)]
    for b in range(2):
        assert found.score_BQ[b, : headlines[b]].isfinite().all()
        assert found.score_BQ[b, headlines[b] :].eq(-math.inf).all()


def test_beam_search_of_a_batch_equals_that_of_each_article() -> None:
    model = generator()
    memory = memory_of(model)
    together: Tensor = beam_search(model, memory, T, Decoding(beam=4)).tokens_BQT
    for b in range(B):
        alone = beam_search(model, memory.select(torch.tensor([b])), T, Decoding(beam=4)).tokens_BQT
        assert torch.equal(alone[0], together[b])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": -1}, r"temperature: -1 is outside \[0, 10\]"),
        ({"temperature": math.nan}, "temperature: nan is outside"),
        ({"temperature": 1, "top_k": -1}, "top_k: -1 is negative"),
        ({"temperature": 1, "top_p": 0.0}, r"top_p: 0.0 is outside \(0, 1\]"),
        ({"temperature": 1, "top_p": 1.5}, "top_p: 1.5 is outside"),
        ({"no_repeat_ngram": -2}, "no_repeat_ngram: -2 is negative"),
        ({"max_length": 0}, r"max_length: 0 is outside \[1, 4096\]"),
        ({"beam": 0}, r"beam: 0 is outside \[1, 64\]"),
        ({"beam": 65}, "beam: 65 is outside"),
        ({"top_k": 5}, "temperature: 0 draws nothing, so top_k 5"),
        ({"beam": 2, "temperature": 0.5}, "beam: 2 headlines are searched, not drawn"),
    ],
)
def test_a_wrong_way_of_decoding_is_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Decoding(**values)  # type: ignore[arg-type]
