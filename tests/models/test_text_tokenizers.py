"""The three tokenizers: nothing is lost, what is unknown can be copied, and a saved one is the same again."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import CheckpointError, DataError
from models.text.tokenizer import END, KINDS, PAD, SPECIAL, UNK, Tokenizer, build_tokenizer, load_tokenizer
from models.text.wordpiece import WordPieceTokenizer

TEXTS = [
    "北京市长江大桥今天通车，市长出席仪式。",
    "长江大桥全长3020米，2024年通车。",
    "北京大学学生今天在长江大桥参观",
    "The mayor opened the bridge in 2024. It's 3,020 metres long!",
    "the bridge opens: the mayor, the students",
] * 2
SCRIPTS = (
    "北京长江大桥今天市学生，。！ \n\r\t\x00abcTheé' 0123٣²３-<>éÀßİǅКи한글かなカ々〇\u3000\u200d\ufffe\U00020000👍🏽ா"
)
MIXED = st.text(alphabet=SCRIPTS, max_size=60) | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
seeded = settings(derandomize=True, database=None, max_examples=60, deadline=None)


@cache
def tokenizer_of(kind: str) -> Tokenizer:
    return build_tokenizer(kind, TEXTS, 120)


@pytest.mark.parametrize("kind", KINDS)
@given(text=MIXED)
@seeded
def test_pieces_join_to_the_text_whatever_its_script(kind: str, text: str) -> None:
    pieces = tokenizer_of(kind).split(text)
    assert "".join(pieces) == text
    assert "" not in pieces


@pytest.mark.parametrize("kind", KINDS)
@given(article=MIXED, title=MIXED)
@seeded
def test_a_headline_comes_back_from_its_ids_but_for_what_only_it_holds(kind: str, article: str, title: str) -> None:
    tokenizer = tokenizer_of(kind)
    source, pieces = tokenizer.split(article), tokenizer.split(title)
    ids = tokenizer.encode_headline(title, article, 100, 100)
    expected = "".join(p if p in tokenizer.ids or p in source else "\N{REPLACEMENT CHARACTER}" for p in pieces)
    assert tokenizer.decode(ids, article) == expected
    assert len(ids) == 100
    assert ids.count(END) == 1


@pytest.mark.parametrize("kind", KINDS)
@given(article=MIXED, length=st.integers(1, 70))
@seeded
def test_an_article_cut_short_begins_as_the_whole_one(kind: str, article: str, length: int) -> None:
    tokenizer = tokenizer_of(kind)
    whole = tokenizer.encode_article(article, 100)
    assert tokenizer.encode_article(article, length) == whole[:length]
    (pieces,) = tokenizer.split_batch([article], length)
    assert pieces == tokenizer.split(article)[:length]
    # In the article itself nothing is unknown.
    assert UNK not in whole
    assert tokenizer.decode(whole, article) == article


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_tokenizer_is_the_same_again(kind: str, tmp_path: Path) -> None:
    tokenizer, path = tokenizer_of(kind), tmp_path / "tokenizer.json"
    tokenizer.save(path)
    loaded = load_tokenizer(path)
    assert loaded == tokenizer
    assert (loaded.digest, loaded.kind, loaded.size) == (tokenizer.digest, kind, len(SPECIAL) + len(tokenizer.pieces))
    for text in TEXTS:
        assert loaded.split(text) == tokenizer.split(text)


def test_the_same_pieces_of_another_kind_have_another_digest() -> None:
    assert len({tokenizer(("a", "b")).digest for tokenizer in KINDS.values()}) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no tokenizer can be read"),
        ("[]", "no tokenizer can be read"),
        ('{"kind": "words", "digest": "", "pieces": [1]}', "no tokenizer can be read"),
        ('{"kind": "bytes", "digest": "", "pieces": []}', "kind 'bytes', but this version knows characters"),
        ('{"kind": "words", "digest": "0", "pieces": []}', "the file was changed"),
    ],
)
def test_what_is_no_tokenizer_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        load_tokenizer(tmp_path / "tokenizer.json")


def test_a_tokenizer_of_another_kind_is_refused_where_one_kind_is_wanted(tmp_path: Path) -> None:
    tokenizer_of("words").save(tmp_path / "tokenizer.json")
    with pytest.raises(CheckpointError, match="use load_tokenizer"):
        WordPieceTokenizer.load(tmp_path / "tokenizer.json")


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(DataError, match="'bpe' is no kind of tokenizer; choose one of characters, wordpiece, words"):
        build_tokenizer("bpe", TEXTS, 100)


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_never_exceeds_its_size(kind: str) -> None:
    for size in (8, 20, 60):
        assert build_tokenizer(kind, TEXTS, size).size <= size
    assert build_tokenizer(kind, [], 100).size == len(SPECIAL)


@pytest.mark.parametrize("kind", KINDS)
def test_an_article_without_a_known_piece_can_be_copied_whole(kind: str) -> None:
    tokenizer = KINDS[kind](())
    article = "龘靐 Ωx龘"
    ids = tokenizer.encode_headline(article, article, 10, 10)
    assert min(ids[: ids.index(END)]) >= tokenizer.size
    assert tokenizer.decode(ids, article) == article


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_article_and_a_very_long_one_are_encoded(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    assert tokenizer.encode_article("", 3) == [PAD] * 3
    assert tokenizer.encode_headline("", "", 3, 3) == [END, PAD, PAD]
    for unit in ("长江", "x", "é", "1", "桥,"):
        assert len(tokenizer.encode_article(unit * (100_000 // len(unit)), 50)) == 50
        assert len(tokenizer.split(unit * (20_000 // len(unit)))) <= 20_000


def test_wordpiece_isolates_unknown_characters_and_keeps_the_rest_of_their_word() -> None:
    tokenizer = WordPieceTokenizer(("长", "江", "大", "桥", "长江", "大桥", " ", "b", "e", "s", "t", " best"))
    assert tokenizer.split("长江龘大桥") == ["长江", "龘", "大桥"]
    assert tokenizer.split("a best bést") == ["a", " best", " ", "b", "é", "s", "t"]
    article = "长江龘大桥"
    assert tokenizer.encode_article(article, 4) == [8, tokenizer.size + 1, 9, PAD]
    assert tokenizer.encode_headline("龘桥", article, 3, 4) == [tokenizer.size + 1, 7, END, PAD]
    assert tokenizer.encode_headline("龘桥", article, 1, 4) == [UNK, 7, END, PAD]


def test_no_wordpiece_spans_punctuation_a_line_end_or_the_border_of_a_number() -> None:
    tokenizer = build_tokenizer("wordpiece", ["今天，今天\n今天2024年 in 2024, in 2024"] * 9, 500)
    several = [piece for piece in tokenizer.pieces if len(piece) > 1]
    assert {"今天", "2024", " in"} <= set(several)
    assert all(piece.strip().isalnum() and len({c.isdigit() for c in piece.strip()}) == 1 for piece in several)


def test_a_clause_longer_than_the_librarys_limit_stays_known() -> None:
    tokenizer = WordPieceTokenizer(("长", "江", "长江"))
    assert tokenizer.split("长江" * 300) == ["长江"] * 300


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_article_is_read_no_further_than_needed_and_cut_no_differently(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    for text in TEXTS[:5]:
        for article in (text * 30, text.replace("，", "") * 30, text.replace(" ", "") * 30):
            whole = tokenizer.split(article)
            for length in (1, 2, 5, 13):
                assert tokenizer.split_batch([article], length) == [whole[:length]]


def test_two_processes_train_the_same_wordpiece() -> None:
    # Rare characters in a tie at the alphabet's border: there the trainer alone would choose by chance.
    program = (
        "from models.text.tokenizer import build_tokenizer;"
        "texts = [chr(0x4e00 + i) + chr(0x4e00 + i * 7 % 300) + '大桥' for i in range(300)] * 2;"
        "print(build_tokenizer('wordpiece', texts, 200).digest)"
    )
    root = Path(__file__).parents[2]
    runs = [subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout != ""
    assert [run.stderr for run in runs] == ["", ""]


def test_words_are_jiebas_and_english_keeps_its_spaces() -> None:
    tokenizer = tokenizer_of("words")
    assert tokenizer.split("长江大桥今天通车") == ["长江大桥", "今天", "通车"]
    expected = ["The", " mayor", "'", "s", " ", " bridge", ",", " ", "2024"]
    assert tokenizer.split("The mayor's  bridge, 2024") == expected


def test_jieba_is_loaded_without_a_word(tmp_path: Path) -> None:
    program = "from models.text.words import WordTokenizer; print(WordTokenizer(()).split('长江大桥'))"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=Path(__file__).parents[2],
        env={"XDG_CACHE_HOME": str(tmp_path), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
    )
    assert (run.stdout, run.stderr) == ("['长江大桥']\n", "")
    assert [path.name for path in (tmp_path / "hpo").iterdir()] == ["jieba.cache"]
