"""What is known beside a headline: keywords, history and clicks out of JSON lines, CSV and Parquet."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from models.errors import CheckpointError, DataError
from models.text.click import FEATURES, WIDTH, ClickScaler
from models.text.pairs import ClickRecord, Pair, load_pairs, read_pairs, write_pairs


def write_rows(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_one(tmp_path: Path, **row: object) -> Pair:
    ((pair, _),) = read_pairs(write_rows(tmp_path / "p.jsonl", {"title": "t", **row}))
    return pair


def test_the_optional_columns_are_the_same_in_every_format(tmp_path: Path) -> None:
    import pandas

    click = ClickRecord(impressions=100.0, clicks=3.0, dwell=12.5, recency=0.0, popularity=7.0, group="g1")
    pair = Pair("标题", "正文", ("北京", "大桥"), ("读过一", "读过二"), click)
    row = {
        "title": "标题",
        "body": "正文",
        "keywords": "北京|大桥",
        "history": "读过一;读过二",
        "impressions": 100,
        "clicks": 3,
        "dwell": 12.5,
        "recency": 0,
        "popularity": 7,
        "group": "g1",
        "color": "blue",
    }
    lists = row | {"keywords": ["北京", "大桥"], "history": ["读过一", "读过二"]}
    frame = pandas.DataFrame([row, {"title": "b", "body": "c"}])
    frame.to_csv(tmp_path / "p.csv", index=False)
    frame.to_parquet(tmp_path / "p.parquet")
    pandas.DataFrame([lists, {"title": "b", "body": "c"}]).to_parquet(tmp_path / "lists.parquet")
    write_rows(tmp_path / "p.jsonl", row, {"title": "b", "body": "c"})
    write_rows(tmp_path / "lists.jsonl", lists, {"title": "b", "body": "c", "clicks": None, "history": None})
    for name in ("p.jsonl", "lists.jsonl", "p.csv", "p.parquet", "lists.parquet"):
        assert [found for found, _ in read_pairs(tmp_path / name)] == [pair, Pair("b", "c")], name


def test_pairs_that_are_written_come_back_with_all_they_hold(tmp_path: Path) -> None:
    pairs = [
        Pair("a", "b"),
        Pair("a", ""),
        Pair("a", "b", ("k", "l"), ("h|;h",), ClickRecord(dwell=1.5)),
        Pair("a", "b", click=ClickRecord(10.0, 0.0, group="g")),
    ]
    write_pairs(tmp_path / "p.jsonl.gz", pairs)
    assert [pair for pair, _ in read_pairs(tmp_path / "p.jsonl.gz")] == pairs


def test_keywords_stand_for_a_body_that_is_left_out(tmp_path: Path) -> None:
    assert read_one(tmp_path, keywords=["北京", "大桥"]).body == "北京，大桥"
    assert read_one(tmp_path, keywords="bridge| mayor ;").body == "bridge, mayor"
    assert read_one(tmp_path, keywords="a|b", body=None).body == "a, b"
    assert read_one(tmp_path, keywords="a|b", body="text").body == "text"
    # Neither: the model writes from the rest alone.
    assert read_one(tmp_path, keywords=[]).body == ""
    assert read_one(tmp_path, body=" ").body == ""


def test_variants_of_a_test_are_a_group_only_with_the_same_image(tmp_path: Path) -> None:
    click = {"impressions": 10, "clicks": 1, "body": "b"}
    first = read_one(tmp_path, test_id="t", image="i", **click)
    other = read_one(tmp_path, test_id="t", image="j", **click)
    assert first.click is not None
    assert other.click is not None
    assert first.click.group != other.click.group
    assert read_one(tmp_path, test_id="t", image="i", group="g", **click).click == replace(first.click, group="g")
    assert read_one(tmp_path, **click).click == replace(first.click, group=None)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"clicks": 2, "impressions": 1}, r"clicks is 2, but impressions is 1; clicks cannot exceed it"),
        ({"clicks": 2}, r"clicks is 2, but impressions is missing; give both"),
        ({"impressions": 2}, r"impressions is 2, but clicks is missing"),
        ({"clicks": -1, "impressions": 2}, r"clicks is -1, but must be a number of at least 0; leave it empty"),
        ({"dwell": float("nan")}, r"dwell is nan, but must be"),
        ({"recency": float("inf")}, r"recency is inf"),
        ({"popularity": "much"}, r"popularity is 'much'"),
        ({"popularity": True}, r"popularity is True"),
        ({"dwell": [1]}, r"dwell is \[1\]"),
        ({"keywords": 3}, r"keywords is 3, but must be a list of texts, or a text with \| between them"),
        ({"history": ["a", 3]}, r"history is \['a', 3\]"),
        ({"title": "\ud83d"}, r"title holds half a character .* write it again as UTF-8"),
        ({"keywords": ["\ud83d"]}, r"keywords holds half a character"),
    ],
)
def test_a_wrong_value_is_refused_with_its_line(tmp_path: Path, row: dict[str, object], message: str) -> None:
    path = write_rows(tmp_path / "p.jsonl", {"title": "t", "body": "b"}, {"title": "t", "body": "b"} | row)
    with pytest.raises(DataError, match=r"p\.jsonl, line 2: " + message):
        load_pairs(str(path))


def test_without_body_or_keywords_the_columns_that_are_there_are_named(tmp_path: Path) -> None:
    import pandas

    with pytest.raises(DataError, match=r"no column 'body' \(found: title, text\); .*, or give keywords"):
        read_one(tmp_path, text="b")
    pandas.DataFrame({"title": ["a"], "keywords": [["b", "c"]]}).to_parquet(tmp_path / "p.parquet")
    assert [pair for pair, _ in read_pairs(tmp_path / "p.parquet")] == [Pair("a", "b, c", ("b", "c"))]


def clicked(clicks: float, impressions: float = 1000, group: str | None = None, **rest: float) -> Pair:
    return Pair("t", "b", click=ClickRecord(impressions, clicks, group=group, **rest))


def test_click_rates_are_scaled_relative_to_their_group() -> None:
    # Two stories, one ten times as popular as the other; in each, one headline does better.
    pairs = [clicked(100, group="a"), clicked(200, group="a"), clicked(10, group="b"), clicked(20, group="b")]
    features = ClickScaler.fit(pairs).features(pairs)
    assert features.shape == (4, WIDTH)
    assert features[:, 0].tolist() == pytest.approx([-1, 1, -1, 1], abs=0.03)
    ungrouped = [replace(pair, click=replace(pair.click, group=None)) for pair in pairs if pair.click]
    loose = ClickScaler.fit(ungrouped).features(ungrouped)
    assert loose[:, 0].argsort().tolist() == [2, 3, 0, 1]
    assert float(loose[:, 0].mean()) == pytest.approx(0, abs=1e-6)
    assert float(loose[:, 0].std(correction=0)) == pytest.approx(1, abs=1e-6)
    # Alone in its group, a headline has nothing to be compared with.
    assert ClickScaler.fit(pairs).features(pairs[:1])[0].tolist() == [0, 0, 0, 0, 1, 0, 0, 0]


def test_unknown_features_are_zero_and_marked_and_extreme_ones_are_clamped() -> None:
    pairs = [clicked(10 + i, dwell=float(i)) for i in range(9)] + [Pair("t", "b")]
    scaler = ClickScaler.fit(pairs)
    features = scaler.features([*pairs, clicked(1000), Pair("t", "b", click=ClickRecord(popularity=3.0))])
    assert features[:, 4:].tolist()[8:] == [[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    assert features[9].tolist() == [0.0] * WIDTH
    assert features[10, 0] == 4
    assert scaler.means[FEATURES.index("popularity")] == 0
    assert scaler.deviations[FEATURES.index("popularity")] == 1
    assert scaler.features([]).shape == (0, WIDTH)


def test_a_scaler_survives_json_and_a_damaged_one_is_refused() -> None:
    scaler = ClickScaler.fit([clicked(1), clicked(5)])
    assert ClickScaler.from_json(scaler.to_json()) == scaler
    for text in ("", "[]", '{"means": [0]}', '{"means": [0,0,0,0], "deviations": [1,1,1,0]}', '{"means": 1}'):
        with pytest.raises(CheckpointError, match="use a whole checkpoint"):
            ClickScaler.from_json(text)
