"""Word vectors out of a file, as the start of a model's embedding and as a table of neighbours.

Suffixes: V pieces of a tokenizer, W width of the file's vectors, E width of the model's, K neighbours.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import DataError
from models.text.pieces import CJK, SPECIAL, Tokenizer

Vectors = NDArray[np.float32]

_CJK = re.compile(f"[{CJK}]")


def load_vectors(path: Path, wanted: Collection[str]) -> tuple[dict[str, int], Vectors]:
    """The vectors of those words in `wanted` that the file has: rows by word, and the matrix (rows, W).

    The file is word2vec text (a line a word: the word and its numbers; a first line "count width" may be
    there), or .npz with the arrays `words` and `vectors`. Of a word that comes twice, the first counts.
    Raises DataError, with the line: no such file, an empty one, a line of another length, what is no finite
    number. The numbers of words that are not wanted are not looked at.
    """
    if not path.is_file():
        raise DataError(f"embeddings: {path} is not a file; give a path the workers can read")
    rows: dict[str, int] = {}
    vectors, width = [], 0
    read = _read_npz if path.name.lower().endswith(".npz") else _read_text
    for place, word, width, numbers in read(path):
        if word not in wanted or word in rows:
            continue
        try:
            # A number too large for float32 becomes infinite, which is refused below.
            with np.errstate(over="ignore"):
                vector = np.array(numbers, dtype=np.float32)
        except ValueError as error:
            raise DataError(f"{place}: {error}; the word must be followed by {width} numbers") from error
        if not np.isfinite(vector).all():
            raise DataError(f"{place}: the vector of {word!r} is not finite; correct it, or leave the word out")
        rows[word] = len(rows)
        vectors.append(vector)
    if not width:
        raise DataError(f"embeddings: {path} holds no vectors; give word2vec text, or .npz with words and vectors")
    return rows, np.array(vectors, dtype=np.float32).reshape(len(vectors), width)


def piece_vectors(tokenizer: Tokenizer, path: Path) -> Tensor:
    """(V, W) float32: each piece's vector, and zeros where there is none, as for SPECIAL.

    A piece is looked up without the space before it, then in lower case. One of Chinese that the file lacks
    takes the mean of its characters' vectors; letters mean nothing, so one of letters takes none. Errors as
    load_vectors.
    """
    names = [piece.strip() or piece for piece in tokenizer.pieces]
    wanted = {form for name in names for form in (name, name.lower(), *name)}
    rows, matrix = load_vectors(path, wanted)
    vectors_VW = np.zeros((tokenizer.size, matrix.shape[1]), dtype=np.float32)
    for i, name in enumerate(names, start=len(SPECIAL)):
        whole = rows.get(name, rows.get(name.lower()))
        parts = [rows[character] for character in name if character in rows and _CJK.match(character)]
        parts = parts if whole is None else [whole]
        if parts:
            vectors_VW[i] = matrix[parts].mean(0)
    return torch.from_numpy(vectors_VW)


def initial_embedding(tokenizer: Tokenizer, path: Path, width: int, rng: torch.Generator) -> tuple[Tensor, float]:
    """(V, E) float32 to start an embedding of `width` from, and the share of pieces that the file covers.

    Random numbers of standard deviation width**-0.5; the first W columns of covered pieces hold their
    vectors, scaled to the same deviation. Raises DataError if W > width; other errors as load_vectors.
    """
    vectors_VW = piece_vectors(tokenizer, path)
    if vectors_VW.shape[1] > width:
        raise DataError(
            f"embeddings: {path} has vectors of {vectors_VW.shape[1]} numbers, but embedding is {width}; "
            f"set embedding to >= {vectors_VW.shape[1]}"
        )
    deviation = width**-0.5
    embedding_VE = torch.randn(tokenizer.size, width, generator=rng) * deviation
    covered_V = vectors_VW.ne(0).any(1)
    if covered_V.any():
        covered = vectors_VW[covered_V]
        # At least two numbers, so that there is a deviation; constant vectors stay as they are.
        spread = float(covered.std()) if covered.numel() > 1 else 0.0
        embedding_VE[covered_V, : vectors_VW.shape[1]] = covered * (deviation / spread if spread > 0 else 1.0)
    return embedding_VE, float(covered_V.sum()) / max(1, len(tokenizer.pieces))


def neighbours(tokenizer: Tokenizer, path: Path, k: int) -> Tensor:
    """(V, k) int64: for each piece, the k that may best stand for it, by `nearest`; -1 where there are none.

    They have as many characters, and a space in front only if it has one: means of characters would else
    find what holds the same character. Errors as load_vectors.
    """
    vectors_VW = piece_vectors(tokenizer, path)
    shapes: dict[tuple[int, bool], list[int]] = {}
    for i, piece in enumerate(tokenizer.pieces, start=len(SPECIAL)):
        shapes.setdefault((len(piece), piece.startswith(" ")), []).append(i)
    neighbours_VK = torch.full((tokenizer.size, k), -1)
    for ids in shapes.values():
        rows = torch.tensor(ids)
        found = nearest(vectors_VW[rows], k)
        neighbours_VK[rows] = torch.where(found < 0, found, rows[found])
    return neighbours_VK


def nearest(vectors_VW: Tensor, k: int) -> Tensor:
    """(V, k) int64: the rows nearest to each by cosine, nearest first; -1 where there are none.

    A row of zeros (see piece_vectors) has no neighbours and is none.
    """
    unit_VW = torch.nn.functional.normalize(vectors_VW, dim=1)
    covered_V = vectors_VW.ne(0).any(1)
    neighbours_VK = torch.full((len(vectors_VW), k), -1)
    rows = covered_V.nonzero().squeeze(1)
    kept = min(k, max(0, len(rows) - 1))
    # A thousand rows at a time: all similarities of 100,000 pieces would take 40 GB.
    for chunk in torch.split(rows, 1000) if kept else ():
        similarity = unit_VW[chunk] @ unit_VW[rows].T
        similarity.masked_fill_(chunk.unsqueeze(1) == rows, -torch.inf)
        neighbours_VK[chunk, :kept] = rows[similarity.topk(kept).indices]
    return neighbours_VK


def _read_text(path: Path) -> Iterator[tuple[str, str, int, Any]]:
    """(place, word, W, numbers) of each line."""
    width, number = 0, 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            place = f"{path}, line {number}"
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n ")
            except UnicodeDecodeError as error:
                raise DataError(f"{place}: {error}; save the file as UTF-8") from error
            fields = line.split(" ")
            if number == 1 and len(fields) == 2 and all(field.isdigit() for field in fields):
                width = int(fields[1])
                continue
            if not line:
                continue
            width = width or len(fields) - 1
            # From the right: a word may hold spaces.
            word, *numbers = line.rsplit(" ", width)
            if not width or len(numbers) != width:
                raise DataError(f"{place}: {len(fields) - 1} numbers after the word, but {width or 'some'} are needed")
            yield place, word, width, numbers


def _read_npz(path: Path) -> Iterator[tuple[str, str, int, Any]]:
    """(place, word, W, numbers) of each row."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            words, vectors = arrays["words"], arrays["vectors"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: no arrays words and vectors ({error}); write it with numpy.savez") from error
    if words.ndim != 1 or vectors.ndim != 2 or len(words) != len(vectors) or words.dtype.kind != "U":
        raise DataError(
            f"{path}: words is {words.dtype}{list(words.shape)} and vectors {vectors.dtype}{list(vectors.shape)}, "
            "but a text and a row for each word are needed"
        )
    for number, (word, vector) in enumerate(zip(words.tolist(), vectors, strict=True), start=1):
        yield f"{path}, row {number}", word, vectors.shape[1], vector
