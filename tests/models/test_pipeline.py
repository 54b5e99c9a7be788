"""From an article to its headlines, step by step."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.errors import ModelError
from models.seqgan.decoding import Decoding
from models.seqgan.pipeline import draw_first, embed_article, finish, join, read_articles, write_headlines
from models.seqgan.randomness import keyed_generator
from models.seqgan.sample import generate, load_generator
from models.text.pairs import ClickRecord, Pair
from models.text.pieces import END, PAD

ARTICLE = "天地玄黄宇宙洪荒日月盈昃"
DRAWN = Decoding(temperature=1.0)


def test_a_headline_is_read_embedded_begun_finished_and_joined(checkpoint: Path) -> None:
    _, reader, model = load_generator(checkpoint)
    pairs = [Pair("never read", ARTICLE), Pair("", "荒荒荒荒")]
    batch = read_articles(reader, pairs)
    assert batch.articles_NS.shape == (2, len(ARTICLE))
    assert batch.headlines_NT.tolist() == [[END], [END]]
    memory = embed_article(model, batch)
    assert memory.states_BSH.shape == (2, len(ARTICLE), 12)
    rng = [keyed_generator("cpu", row) for row in range(2)]
    first_BP = draw_first(model, memory, 3, DRAWN, rng)
    assert first_BP.shape == (2, 3)
    whole_BT = finish(model, memory, first_BP, reader.headline_length, Decoding())
    assert whole_BT.shape == (2, 10)
    assert torch.equal(whole_BT[:, :3], first_BP)
    texts = join(reader, whole_BT, [ARTICLE, "荒荒荒荒"])
    for text, row in zip(texts, whole_BT.tolist(), strict=True):
        assert len(text) == sum(token not in (END, PAD) for token in row)
    with pytest.raises(ModelError, match="temperature: 0 draws no first pieces"):
        draw_first(model, memory, 3, Decoding(), rng)


def test_joined_pieces_are_one_line(checkpoint: Path) -> None:
    _, reader, _ = load_generator(checkpoint)
    size = reader.tokenizer.size
    # "\n", "新" and " " are in no headline: they stand in the article.
    tokens_BT = torch.tensor([[size, size + 1, size, size + 2, size + 1, END, PAD]])
    assert join(reader, tokens_BT, ["\n新 "]) == ["新 新"]


def test_writing_is_the_composition_of_its_steps(checkpoint: Path) -> None:
    _, reader, model = load_generator(checkpoint)
    pairs = [Pair("", ARTICLE), Pair("", ARTICLE[::-1])]
    opening = Decoding(temperature=1.0, max_length=2)
    written = write_headlines(model, reader, pairs, range(4, 5), seed=7, decoding=Decoding(beam=3), opening=opening)
    memory = embed_article(model, read_articles(reader, pairs))
    rng = [keyed_generator("cpu", 7, "headline", i, 4) for i in range(2)]
    whole_BT = finish(model, memory, draw_first(model, memory, 2, opening, rng), 10, Decoding(beam=3))
    assert [row[0] for row in written] == join(reader, whole_BT, [pair.body for pair in pairs])


def test_draws_hang_on_seed_and_article_and_not_on_batches_or_how_many_are_asked(informed: Path) -> None:
    articles = [ARTICLE[i:] for i in range(5)]
    click = ClickRecord(impressions=100, clicks=3, group="a")
    pairs = [Pair("", body, click=replace(click, clicks=float(i))) for i, body in enumerate(articles)]
    three = generate(informed, pairs, n=3, seed=1, decoding=DRAWN)
    assert three == generate(informed, pairs, n=3, seed=1, decoding=DRAWN, batch_size=2)
    assert [row[:2] for row in three] == generate(informed, pairs, n=2, seed=1, decoding=DRAWN)
    assert three != generate(informed, pairs, n=3, seed=2, decoding=DRAWN)
    assert generate(informed, articles[:2]) == generate(informed, articles)[:2]


def test_a_beam_gives_its_n_best(checkpoint: Path) -> None:
    ((best,),) = generate(checkpoint, [ARTICLE], decoding=Decoding(beam=4))
    (four,) = generate(checkpoint, [ARTICLE], n=4, decoding=Decoding(beam=4))
    assert four[0] == best
    assert len(set(four)) == 4
    with pytest.raises(ModelError, match="n: 5 headlines, but a beam of 4"):
        generate(checkpoint, [ARTICLE], n=5, decoding=Decoding(beam=4))


def test_what_is_known_beside_an_article_changes_its_headlines(informed: Path) -> None:
    plain = Pair("", ARTICLE)
    known = [
        replace(plain, keywords=("日月",)),
        replace(plain, history=("辰宿列张",)),
        replace(plain, click=ClickRecord(impressions=1000, clicks=900)),
    ]
    _, reader, model = load_generator(informed)
    states = embed_article(model, read_articles(reader, [plain, *known])).initial_KBH
    for i in range(1, 4):
        assert not torch.equal(states[:, i], states[:, 0])
