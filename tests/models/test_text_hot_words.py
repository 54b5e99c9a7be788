"""The dictionary of hot words, and where an article and a headline hold them."""

from pathlib import Path

import pytest

from models.errors import CheckpointError, DataError
from models.text.hot_words import HotWords
from models.text.pairs import Pair


def titles(*texts: str) -> list[Pair]:
    return [Pair(text, "") for text in texts]


def test_words_of_few_headlines_weigh_more_than_those_of_all() -> None:
    pairs = titles(*["大桥通车了"] * 2, *["今天大雨"] * 3, *[f"今天新闻{i}" for i in range(60)])
    words = HotWords.build(pairs).words
    assert set(words) == {"大桥", "通车", "大雨"}
    # Three of 65 weigh 3 ln(66/3) = 9.3, two 2 ln(66/2) = 7.0.
    assert words[0] == "大雨"
    assert HotWords.build(pairs, size=1).words == ("大雨",)
    assert HotWords.build(pairs, "none").words == ()


def test_jiebas_weights_prefer_words_that_are_rare_elsewhere() -> None:
    pairs = titles(*["我们建设", "量子建设", "我们量子"] * 2, *["其他"] * 100)
    assert HotWords.build(pairs, "jieba").words[0] == "量子"


def test_english_words_count_in_any_case_and_stop_words_do_not() -> None:
    pairs = titles("The Bridge is open", "the BRIDGE opens", "I don't know the mayor", "You don't say", *["x"] * 40)
    assert HotWords.build(pairs).words == ("bridge",)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(DataError, match="'bm25' is no method; choose one of none, keywords, tfidf, jieba"):
        HotWords.build([], "bm25")


def test_a_piece_is_hot_if_a_hot_word_covers_some_of_it() -> None:
    hot = HotWords(("大桥", "大桥通车", "bridge", "通车"))
    assert hot.mask(["长江", "大", "桥", "通", "车", "了"]) == [False, True, True, True, True, False]
    assert hot.mask(["长江大", "桥", "通"]) == [True, True, False]
    assert hot.mask(["The", " Brid", "ge", ",", " bridges", "ridge"]) == [False, True, True, False, False, False]
    assert hot.mask(["x大桥"]) == [True]
    assert hot.mask([]) == []
    assert HotWords().mask(["大", "桥"]) == [False, False]


def test_a_pairs_own_keywords_are_hot_as_well() -> None:
    assert HotWords().mask(["长", "江", " The", " Mayor"], ("长江", "mayor", "")) == [True, True, False, True]
    assert HotWords(("长",)).mask(["长", "江", "江"], ("江",)) == [True, True, True]


def test_a_letter_that_lower_case_makes_two_moves_nothing() -> None:
    assert HotWords(("bridge",)).mask(["İİİ", " BRIDGE", " İ"]) == [False, True, False]


def test_a_headline_names_its_hot_words_once_and_in_order() -> None:
    hot = HotWords(("大桥", "通车", "bridge"))
    assert hot.ids_in("通车：长江大桥通车, Bridge") == [0, 1, 2]
    assert hot.ids_in("abridged") == []


def test_saved_words_are_the_same_again_and_changed_ones_refused(tmp_path: Path) -> None:
    hot, path = HotWords(("大桥", "通车")), tmp_path / "hot_words.json"
    hot.save(path)
    assert HotWords.load(path) == hot
    path.write_text(path.read_text(encoding="utf-8").replace("大桥", "小桥"), encoding="utf-8")
    with pytest.raises(CheckpointError, match="not those that were saved"):
        HotWords.load(path)
    for content in ("", "[]", '{"words": 3, "digest": ""}', '{"words": [1], "digest": ""}'):
        path.write_text(content)
        with pytest.raises(CheckpointError, match="no hot words can be read"):
            HotWords.load(path)
