"""Headlines for an article of one's own: the command."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from api.cli import app
from models.errors import CheckpointError
from models.seqgan import headline
from models.seqgan.decoding import Decoding
from models.seqgan.sample import generate, load_generator

ROOT = Path(__file__).parents[2]
CHARACTERS = "天地玄黄宇宙洪荒日月盈昃辰宿列张"
ARTICLE = CHARACTERS[:12]


@pytest.fixture
def article(tmp_path: Path) -> Path:
    path = tmp_path / "article.txt"
    path.write_text(ARTICLE, encoding="utf-8")
    return path


def run(checkpoint: Path, article: object, *options: object) -> int:
    return headline.main(["--checkpoint", str(checkpoint), "--article", str(article), *map(str, options)])


def test_the_command_prints_headlines_that_differ_and_says_they_are_drafts(
    checkpoint: Path, article: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(checkpoint, article, "--n", 5, "--seed", 3) == 0
    first = capsys.readouterr()
    assert len(set(first.out.splitlines())) == len(first.out.splitlines()) == 5
    assert first.err.count("a draft that can be false") == 1
    assert run(checkpoint, article, "--n", 5, "--seed", 3) == 0
    assert capsys.readouterr().out == first.out
    assert run(checkpoint, article) == 0
    likeliest = capsys.readouterr().out.strip()
    assert [[likeliest]] == generate(checkpoint, [ARTICLE])


def test_fewer_headlines_than_asked_are_told(
    checkpoint: Path, article: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(checkpoint, article, "--n", 3, "--temperature", 0) == 0
    done = capsys.readouterr()
    assert len(done.out.splitlines()) == 1
    assert "note: 1 of 3 headlines" in done.err


def test_drafts_that_are_the_same_are_written_again_up_to_a_bound() -> None:
    drafts = ["a", "a", "", "b", "a", "c"]
    asked: list[range] = []

    def write(numbers: range) -> list[str]:
        asked.append(numbers)
        return drafts[numbers.start : numbers.stop]

    assert headline.distinct(write, 3, most=6) == ["a", "b", "c"]
    assert asked == [range(3), range(3, 5), range(5, 6)]
    assert headline.distinct(write, 3, most=5) == ["a", "b"]


@pytest.mark.parametrize(
    ("options", "decoding", "opening"),
    [
        ("", Decoding(), None),
        ("--n 5", Decoding(temperature=0.8), None),
        ("--n 5 --temperature 0.5 --top-k 9 --top-p 0.9", Decoding(temperature=0.5, top_k=9, top_p=0.9), None),
        ("--top-p 0.9", Decoding(temperature=0.8, top_p=0.9), None),
        ("--n 2 --beam 4 --max-length 6", Decoding(beam=4, max_length=6), None),
        (
            "--first 3 --beam 4 --no-repeat-ngram 2",
            Decoding(beam=4, no_repeat_ngram=2),
            Decoding(temperature=0.8, no_repeat_ngram=2, max_length=3),
        ),
    ],
)
def test_options_say_how_a_headline_is_written(options: str, decoding: Decoding, opening: Decoding | None) -> None:
    given = headline.parser().parse_args(["--checkpoint", "c", "--article", "a", *options.split()])
    assert headline.decodings(given) == (decoding, opening)


def test_json_is_one_document(checkpoint: Path, article: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(checkpoint, article, "--n", 2, "--first", 2, "--no-repeat-ngram", 2, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["headlines"]) == 2
    assert document["draft"] is True
    assert document["article"] == {"pieces_read": 12, "characters_read": 12, "characters": 12}
    assert document["opening"]["max_length"] == 2


def test_a_page_explains_the_first_headline(
    informed: Path, article: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history, page = tmp_path / "history.txt", tmp_path / "page.html"
    history.write_text("辰宿\n\n列张\n", encoding="utf-8")
    options = ("--keyword", "日月", "--keyword", "玄黄", "--history", history, "--max-length", 3, "--explain", page)
    assert run(informed, article, *options) == 0
    done = capsys.readouterr()
    assert f"<h1>{done.out.strip()}</h1>" in page.read_text(encoding="utf-8")
    assert "changes nothing" not in done.err


def test_a_page_that_cannot_be_written_is_told_after_the_headline(
    checkpoint: Path, article: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(checkpoint, article, "--max-length", 1, "--explain", tmp_path) == 2
    done = capsys.readouterr()
    assert done.out.strip()
    assert f"error: explain: {tmp_path} can't be written (Is a directory)" in done.err


def test_priors_that_a_checkpoint_was_trained_without_are_told(
    checkpoint: Path, article: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(checkpoint, article, "--keyword", "日月", "--history", article) == 0
    told = capsys.readouterr().err
    assert "without hot words, so --keyword changes nothing" in told
    assert "without history, so --history changes nothing" in told


def test_an_article_of_unknown_pieces_is_copied_from(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "unknown.txt"
    path.write_text("新闻报道", encoding="utf-8")
    assert run(checkpoint, path, "--no-repeat-ngram", 1) == 0
    done = capsys.readouterr()
    assert done.out.strip()
    assert "knows no piece of this article; a headline can only be copied from it" in done.err


def test_a_long_article_is_read_to_the_models_length(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "long.txt"
    path.write_text(CHARACTERS * 6250, encoding="utf-8")
    assert run(checkpoint, path) == 0
    long = capsys.readouterr()
    assert "reads the article's first 20 pieces: 20 of 100000 characters" in long.err
    path.write_text((CHARACTERS * 2)[:20], encoding="utf-8")
    assert run(checkpoint, path) == 0
    assert capsys.readouterr().out == long.out


def test_scripts_may_be_mixed_and_line_ends_are_of_any_kind(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mixed.txt"
    path.write_bytes("\ufeff天地 OpenAI ｶﾅ\r\nعربي 👩‍🔬🇨🇳\r\n".encode())
    assert run(checkpoint, path, "--n", 3, "--temperature", 2, "--json") == 0
    for text in json.loads(capsys.readouterr().out)["headlines"]:
        assert text == " ".join(text.split())
        assert "\ufeff" not in text


def test_an_article_may_come_from_standard_input(
    checkpoint: Path, article: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(checkpoint, article) == 0
    expected = capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(ARTICLE.encode())))
    assert run(checkpoint, "-") == 0
    assert capsys.readouterr().out == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b" \n")))
    assert run(checkpoint, "-") == 2
    assert "error: article: standard input is empty; give a text" in capsys.readouterr().err


def test_keywords_stand_for_a_blank_article(informed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blank = tmp_path / "blank.txt"
    blank.write_text(" \n\t", encoding="utf-8")
    assert run(informed, blank, "--keyword", "日月", "--keyword", "玄黄", "--json") == 0
    assert json.loads(capsys.readouterr().out)["article"]["characters"] == len("日月，玄黄")
    assert run(informed, blank) == 2
    assert f"error: article: {blank} is empty; give a text of at least a sentence" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--n", "0"], "n: 0 headlines cannot be written"),
        (["--first", "-1"], "first: -1 is negative"),
        (["--first", "2", "--temperature", "0"], "temperature: 0 draws no first pieces"),
        (["--temperature", "nan"], "temperature: nan is outside"),
        (["--beam", "4", "--temperature", "1"], "beam: 4 headlines are searched, not drawn"),
        (["--beam", "2", "--n", "3"], "n: 3 headlines, but a beam of 2"),
        (["--device", "cuda:99"], "device: 'cuda:99' can't be used here"),
        (["--device", "abacus"], "device: 'abacus' can't be used here"),
        (["--history", "nowhere.txt"], "nowhere.txt: No such file or directory; give a text file"),
        (["--explain", "nowhere/page.html"], "explain: nowhere/page.html can't be written, its folder isn't there"),
    ],
)
def test_a_wrong_option_is_refused(
    checkpoint: Path, article: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert run(checkpoint, article, *options) == 2
    done = capsys.readouterr()
    assert done.out == ""
    assert f"error: {message}" in done.err


def test_a_file_that_cannot_be_read_is_named(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(checkpoint, tmp_path / "nowhere.txt") == 2
    assert f"error: {tmp_path}/nowhere.txt: No such file or directory; give a text file" in capsys.readouterr().err
    assert run(checkpoint, tmp_path) == 2
    assert f"error: {tmp_path}: Is a directory" in capsys.readouterr().err
    path = tmp_path / "gbk.txt"
    path.write_bytes(ARTICLE.encode("gbk"))
    assert run(checkpoint, path) == 2
    assert f"error: {path}: not UTF-8 (byte 0: " in capsys.readouterr().err


def test_a_checkpoint_with_another_vocabulary_is_refused(
    checkpoint: Path, article: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "checkpoint"
    shutil.copytree(checkpoint, other)
    tokenizer = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    rewritten = type(load_generator(checkpoint)[1].tokenizer)((*tokenizer["pieces"], "新"))
    rewritten.save(other / "tokenizer.json")
    assert run(other, article) == 2
    assert "put the checkpoint's own tokenizer.json back" in capsys.readouterr().err
    manifest = json.loads((other / "manifest.json").read_text(encoding="utf-8"))
    manifest["digests"]["tokenizer.json"] = rewritten.digest
    (other / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(CheckpointError, match="its weights do not fit its vocabulary"):
        load_generator(other)
    assert run(tmp_path / "nowhere", article) == 2
    assert "no whole checkpoint" in capsys.readouterr().err


def test_hpo_headline_has_the_options_of_the_command() -> None:
    shown = CliRunner().invoke(app, ["headline", "--help"])
    assert shown.exit_code == 0
    command = get_command(app).commands["headline"]  # type: ignore[attr-defined]
    ours = {option.opts[0]: option.required for option in command.params}
    theirs = {action.option_strings[0]: action.required for action in headline.parser()._actions}
    assert theirs.pop("-h") is False
    assert ours == theirs
    for option in ours:
        assert option in shown.output


def test_hpo_headline_writes_headlines_and_passes_the_exit_code_on(checkpoint: Path, article: Path) -> None:
    command = [sys.executable, "-m", "api.cli", "headline", "--checkpoint", str(checkpoint), "--article"]
    options = ["--n", "2", "--keyword", "-日月", "--json"]
    done = subprocess.run([*command, str(article), *options], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["headlines"]) == 2
    assert "a draft that can be false" in done.stderr
    done = subprocess.run([*command, "nowhere.txt"], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode == 2
    assert done.stderr.startswith("error: nowhere.txt: No such file")
