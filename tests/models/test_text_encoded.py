"""Pairs as tensors, and a data set made ready for training."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.errors import DataError
from models.text.characters import CharacterTokenizer
from models.text.click import ClickScaler
from models.text.encoded import EncodedPairs
from models.text.hot_words import HotWords
from models.text.pairs import ClickRecord, Pair
from models.text.pieces import END, PAD, UNK
from models.text.prepared import Prepared, prepare
from models.text.wordpiece import WordPieceTokenizer

PAIRS = [
    Pair("大桥通车", "长江大桥今天通车", history=("通车", "龘"), click=ClickRecord(10.0, 1.0)),
    Pair("龘", "龘大", ("大",)),
    Pair("大江", ""),
]
TOKENIZER = WordPieceTokenizer(("大", "桥", "通", "车", "长", "江", "今", "天", "大桥", "通车", "长江"))


def encoded(length: int = 4) -> EncodedPairs:
    return EncodedPairs.encode(
        PAIRS,
        TOKENIZER,
        6,
        length,
        hot_words=HotWords(("今天", "大桥", "通车")),
        click_scaler=ClickScaler((0.0,) * 4, (1.0,) * 4),
        history_length=3,
    )


def test_all_a_pair_holds_is_encoded() -> None:
    pairs, size = encoded(), TOKENIZER.size
    assert pairs.articles_NS.tolist() == [[14, 12, 10, 11, 13, PAD], [size, 4, *[PAD] * 4], [PAD] * 6]
    assert pairs.headlines_NT.tolist() == [[12, 13, END, PAD], [size, END, PAD, PAD], [4, 9, END, PAD]]
    assert pairs.hot_NS is not None
    assert pairs.hot_NS.tolist() == [[False, True, True, True, True, False], [False, True, *[False] * 4], [False] * 6]
    assert pairs.hot_targets_NK is not None
    assert pairs.hot_targets_NK.tolist() == [[1, 2], [-1, -1], [-1, -1]]
    assert pairs.hot_targets_NW is not None
    assert pairs.hot_targets_NW.tolist() == [[0, 1, 1], [0, 0, 0], [0, 0, 0]]
    # The latest ids of "通车<end>龘<end>".
    assert pairs.history_NL is not None
    assert pairs.history_NL.tolist() == [[END, UNK, END], [PAD] * 3, [PAD] * 3]
    assert pairs.click_NF is not None
    assert pairs.click_NF[:, 4].tolist() == [1, 0, 0]
    assert {tensor.dtype for tensor in (pairs.articles_NS, pairs.headlines_NT)} == {torch.int32}


def test_perplexity_is_divided_by_the_characters_that_kept_pieces_stand_for() -> None:
    assert encoded().characters_N.tolist() == [5, 2, 3]
    # Cut after one piece, and so without an end; an unknown piece counts the characters it replaced.
    assert encoded(1).characters_N.tolist() == [2, 1, 1]
    assert EncodedPairs(torch.ones(2, 3), torch.tensor([[4, 5, 2], [2, 0, 0]])).characters_N.tolist() == [3, 1]


def test_without_priors_there_are_only_articles_and_headlines() -> None:
    pairs = EncodedPairs.encode(PAIRS, TOKENIZER, 6, 4)
    assert set(pairs.tensors()) == {"articles_NS", "headlines_NT", "characters_N", "unknown_N"}
    assert pairs.hot_targets_NW is None
    assert set(pairs.select(torch.tensor([1])).tensors()) == set(pairs.tensors())
    assert len(EncodedPairs.encode([], TOKENIZER, 6, 4)) == 0
    assert EncodedPairs.encode([], TOKENIZER, 6, 4).articles_NS.shape == (0, 6)


def test_a_selection_is_cut_to_its_longest_headline_and_article() -> None:
    pairs = encoded()
    batch = pairs.select(torch.tensor([1, 2]))
    assert batch.articles_NS.tolist() == [[TOKENIZER.size, 4], [PAD, PAD]]
    assert batch.headlines_NT.shape == (2, 3)
    assert batch.hot_NS is not None
    assert batch.hot_NS.tolist() == [[False, True], [False, False]]
    assert {batch.articles_NS.dtype, batch.headlines_NT.dtype} == {torch.int64}
    # An empty article keeps one position.
    assert pairs.select(torch.tensor([2])).articles_NS.tolist() == [[PAD]]
    assert len(pairs.select(torch.tensor([], dtype=torch.long))) == 0
    assert [len(part) for part in pairs.batches(2)] == [2, 1]


def test_shuffling_gives_every_headline_another_pairs_article_and_priors() -> None:
    tokenizer = CharacterTokenizer(tuple("abcdefgh"))
    texts = [Pair(letter + "z", letter, click=ClickRecord(dwell=float(i))) for i, letter in enumerate("abcdefgh")]
    pairs = EncodedPairs.encode(texts, tokenizer, 2, 3, click_scaler=ClickScaler.fit(texts))
    shuffled = pairs.shuffled_articles(torch.Generator().manual_seed(0))
    assert sorted(shuffled.articles_NS.tolist()) == sorted(pairs.articles_NS.tolist())
    assert not shuffled.articles_NS[:, 0].eq(pairs.articles_NS[:, 0]).any()
    assert shuffled.click_NF is not None
    assert pairs.click_NF is not None
    source = (shuffled.articles_NS[:, 0] - 4).long()
    assert torch.equal(shuffled.click_NF, pairs.click_NF[source])
    assert torch.equal(shuffled.headlines_NT, pairs.headlines_NT)
    again = pairs.shuffled_articles(torch.Generator().manual_seed(0))
    assert torch.equal(again.articles_NS, shuffled.articles_NS)


def test_over_another_article_a_copied_piece_is_unknown() -> None:
    shuffled = encoded().shuffled_articles(torch.Generator().manual_seed(0))
    assert shuffled.headlines_NT[1].tolist() == [UNK, END, PAD, PAD]


def write_data(path: Path) -> str:
    rows = [
        {"title": f"大桥{word}通车", "body": f"今天{word}大桥通车", "impressions": 10 + i, "clicks": i, "split": split}
        for i, (word, split) in enumerate(zip("甲乙丙丁戊己", ["train"] * 4 + ["dev", "test"], strict=True))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def ready(data: str, tmp_path: Path, **changes: object) -> Prepared:
    settings = {"vocabulary": 60, "article_length": 8, "headline_length": 6, "hot_words": "tfidf", "clicks": True}
    settings |= {"history_length": 2, "cache_dir": tmp_path / "cache"}
    return prepare(data, **(settings | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["characters", "wordpiece", "words"])
def test_a_prepared_data_set_is_the_same_out_of_the_cache(kind: str, tmp_path: Path) -> None:
    data = write_data(tmp_path / "p.jsonl")
    fresh = ready(data, tmp_path, tokenizer_kind=kind)
    entries = {path.name: path.stat().st_ino for path in (tmp_path / "cache").iterdir() if path.is_dir()}
    again = ready(data, tmp_path, tokenizer_kind=kind)
    assert (again.reader, again.splits) == (fresh.reader, fresh.splits)
    assert again.reader.tokenizer.kind == kind
    for name in ("train", "dev", "test"):
        first, second = getattr(fresh, name), getattr(again, name)
        assert first.tensors().keys() == second.tensors().keys()
        assert all(torch.equal(tensor, second.tensors()[key]) for key, tensor in first.tensors().items())
        assert (second.vocabulary, second.num_hot_words) == (first.vocabulary, first.num_hot_words)
    # Read, not written again.
    assert {path.name: path.stat().st_ino for path in (tmp_path / "cache").iterdir() if path.is_dir()} == entries
    assert sorted(name.partition("-")[0] for name in entries) == ["encoded", "hot_words", "pairs", "tokenizer"]


def test_a_changed_file_or_parameter_is_prepared_anew(tmp_path: Path) -> None:
    data = write_data(tmp_path / "p.jsonl")
    before = ready(data, tmp_path)
    assert ready(data, tmp_path, article_length=3).train.articles_NS.shape == (4, 3)
    Path(data).write_text(Path(data).read_text().replace("10", "99"))
    after = ready(data, tmp_path)
    assert after.splits != before.splits
    assert after.reader.click_scaler != before.reader.click_scaler


def test_a_checkpoints_reader_is_used_instead_of_a_built_one(tmp_path: Path) -> None:
    data = write_data(tmp_path / "p.jsonl")
    reader = replace(ready(data, tmp_path).reader, tokenizer=CharacterTokenizer(("大", "桥")), article_length=5)
    prepared = ready(data, tmp_path, reader=reader)
    assert prepared.reader is reader
    assert prepared.train.articles_NS.shape == (4, 5)
    assert prepared.train.vocabulary == 6


def test_what_was_not_asked_for_is_not_read(tmp_path: Path) -> None:
    data = write_data(tmp_path / "p.jsonl")
    prepared = ready(data, tmp_path, hot_words="none", clicks=False, history_length=0)
    assert (prepared.reader.hot_words, prepared.reader.click_scaler) == (None, None)
    assert set(prepared.train.tensors()) == {"articles_NS", "headlines_NT", "characters_N", "unknown_N"}


def test_errors_of_the_data_come_through_the_cache(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a file"):
        ready(str(tmp_path / "none.jsonl"), tmp_path)
    data = write_data(tmp_path / "p.jsonl")
    with pytest.raises(DataError, match="no kind of tokenizer"):
        ready(data, tmp_path, tokenizer_kind="bytes")
    with pytest.raises(DataError, match="no method"):
        ready(data, tmp_path, hot_words="bm25")
