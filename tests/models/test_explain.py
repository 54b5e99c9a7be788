"""What an explanation says of a headline, and its page."""

import json
import re
from dataclasses import replace

import pytest
import torch

from models.seqgan.config import SeqGANConfig
from models.seqgan.explain import TOLERANCE, explain_headline, forced_log_prob, present_sources
from models.seqgan.explanation import SOURCES, Explanation, PieceExplanation, shares
from models.seqgan.generator import Generator
from models.seqgan.pipeline import read_articles
from models.text.characters import CharacterTokenizer
from models.text.click import ClickScaler
from models.text.hot_words import HotWords
from models.text.pairs import ClickRecord, Pair
from models.text.reader import Reader

CLICKS = [Pair("", "", click=ClickRecord(impressions=100, clicks=i)) for i in (1.0, 9.0)]
TOKENIZER = CharacterTokenizer(tuple("天地玄黄宇宙洪荒日月盈昃辰宿列张"))
READER = Reader(TOKENIZER, 14, 10, 8, HotWords(("玄黄",)), ClickScaler.fit(CLICKS))
PAIR = Pair("", "天地玄黄新宇宙洪荒日月", ("日月",), ("辰宿列张", "黄"), ClickRecord(impressions=100, clicks=50))
HEADLINE = "玄黄新宇日"


def generator(**params: object) -> Generator:
    torch.manual_seed(1)
    priors = {"hot_words": "tfidf", "history_length": 8, "clicks": True}
    small = {"hidden": 10, "embedding": 6, "article_length": 14, "headline_length": 10}
    made = Generator(SeqGANConfig.from_params(small | priors | params), TOKENIZER.size).eval()
    # Far from uniform, so that every source matters.
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    with torch.no_grad():
        made.embed_weight[0].zero_()
    return made


@pytest.fixture(scope="module")
def explained() -> Explanation:
    return explain_headline(generator(), READER, PAIR, HEADLINE)


@pytest.mark.parametrize("params", [{}, {"copy": False}, {"cell": "gru", "norm": "batch"}])
def test_attributions_sum_to_the_difference_that_the_sources_make(params: dict[str, object]) -> None:
    model = generator(**params)
    found = explain_headline(model, READER, PAIR, HEADLINE)
    batch = read_articles(READER, [PAIR], title=HEADLINE)
    with torch.no_grad():
        log_prob = float(model(batch).log_prob_BT.sum())
    difference = found.log_prob - found.baseline_log_prob
    assert found.log_prob == pytest.approx(log_prob, abs=1e-4)
    assert abs(difference) > 0.1
    assert sum(found.attributions.values()) == pytest.approx(difference, abs=TOLERANCE * max(1.0, abs(difference)))
    assert abs(found.gap) <= TOLERANCE * max(1.0, abs(difference))
    assert set(found.attributions) == set(SOURCES)
    assert all(abs(value) > 1e-3 for value in found.attributions.values())
    assert sum(found.article_attributions) == pytest.approx(found.attributions["article"], abs=1e-4)


def test_attributions_equal_a_riemann_sum_of_gradients(explained: Explanation) -> None:
    model, batch = generator(), read_articles(READER, [PAIR], title=HEADLINE)
    sources = present_sources(model, batch)
    log_prob = forced_log_prob(model, batch, list(sources))
    steps = 100
    totals = dict.fromkeys(sources, 0.0)
    for step in range(steps):
        values = [((step + 0.5) / steps * value).requires_grad_() for value in sources.values()]
        gradients = torch.autograd.grad(log_prob(*values).sum(), values)
        for name, gradient in zip(sources, gradients, strict=True):
            totals[name] += float((gradient * sources[name]).sum()) / steps
    for name, total in totals.items():
        assert explained.attributions[name] == pytest.approx(total, abs=0.02)


def test_the_way_starts_where_an_article_without_priors_of_padding_vectors_would() -> None:
    model = generator()
    with torch.no_grad():
        model.embed_weight[:] = 0.0
    bare = Pair("", PAIR.body)
    batch = read_articles(READER, [bare], title=HEADLINE)
    sources = present_sources(model, batch)
    assert all(value.eq(0).all() for name, value in sources.items() if name != "hot words")
    marked = read_articles(replace(READER, hot_words=HotWords()), [bare], title=HEADLINE)
    absent = forced_log_prob(model, batch, list(sources))(*map(torch.zeros_like, sources.values()))
    torch.testing.assert_close(absent, model(marked).log_prob_BT)


def test_a_source_that_is_absent_adds_nothing_and_one_that_is_not_read_is_not_named() -> None:
    found = explain_headline(generator(), READER, Pair("", "天地洪荒"), "天地")
    assert found.attributions["history"] == found.attributions["clicks"] == found.attributions["hot words"] == 0
    assert found.shares == {"article": 1.0, "hot words": 0.0, "history": 0.0, "clicks": 0.0}
    plain = generator(hot_words="none", history_length=0, clicks=False)
    found = explain_headline(plain, Reader(TOKENIZER, 14, 10), PAIR, "天地")
    assert list(found.attributions) == ["article"]


def test_each_piece_has_its_attention_and_the_chance_that_it_was_copied(explained: Explanation) -> None:
    assert [piece.piece for piece in explained.pieces] == [*HEADLINE, "<end>"]
    assert explained.article == tuple(PAIR.body)
    for piece in explained.pieces:
        assert sum(piece.attention) == pytest.approx(1, abs=1e-5)
        assert 0 < piece.p_write < 1
        assert sum(piece.shares.values()) == pytest.approx(1)
        there = sum(w for w, source in zip(piece.attention, explained.article, strict=True) if source == piece.piece)
        expected = (1 - piece.p_write) * there / torch.tensor(piece.log_prob).exp().item()
        assert piece.copied == pytest.approx(expected, abs=1e-4)
    # No vocabulary holds it; and an article has no `<end>`.
    assert explained.pieces[2].copied == pytest.approx(1, abs=1e-3)
    assert explained.pieces[-1].copied == 0


def test_any_headline_can_be_explained_even_one_the_model_cannot_write() -> None:
    found = explain_headline(generator(), READER, PAIR, "报天" * 10)
    assert [piece.piece for piece in found.pieces] == ["\N{REPLACEMENT CHARACTER}", "天"] * 5
    assert [piece.piece for piece in explain_headline(generator(), READER, PAIR, "").pieces] == ["<end>"]


def test_an_explanation_is_one_json_document(explained: Explanation) -> None:
    document = json.loads(explained.to_json())
    assert document["headline"] == HEADLINE
    assert document["attributions"] == pytest.approx(explained.attributions)
    assert document["pieces"][0]["attention"] == pytest.approx(explained.pieces[0].attention)
    assert document["gap"] == pytest.approx(explained.gap)


def test_the_page_is_whole_and_loads_nothing(explained: Explanation) -> None:
    page = explained.to_html()
    assert not re.search(r"<script|<link|<img|https?://|@import|url\(", page)
    assert "prefers-color-scheme: dark" in page
    assert "default-src 'none'" in page
    assert page.count("<tr>") == 1 + len(explained.pieces)
    for source, share in explained.shares.items():
        assert f"{source} {share:.0%}" in page
    for tag in ("table", "tr", "th", "td", "dl", "dt", "dd", "b", "i", "p"):
        assert len(re.findall(f"<{tag}[ >]", page)) == page.count(f"</{tag}>"), tag


def test_the_page_escapes_its_texts() -> None:
    evil = '"><script>alert(1)</script>&'
    piece = PieceExplanation(
        piece=evil, log_prob=-1, p_write=0.5, copied=0.5, attention=(0.5, 0.5), attributions={"article": -1.0}
    )
    page = Explanation(
        headline=evil,
        article=(evil, " "),
        pieces=(piece,),
        article_attributions=(-1.0, 0.5),
        log_prob=-1,
        baseline_log_prob=0,
    ).to_html()
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;&amp;") >= 4
    assert "␣" in page
    assert 'class="neg"' in page


def test_shares_are_of_sizes() -> None:
    assert shares({"article": -3.0, "clicks": 1.0}) == {"article": 0.75, "clicks": 0.25}
    assert shares({"article": 0.0}) == {"article": 0.0}
