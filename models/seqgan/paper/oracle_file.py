"""The parameters of an oracle in a NumPy archive, as the SeqGAN paper's code holds them; read without torch.

Suffixes: V vocabulary, E width of an embedding, H width of a hidden state.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.errors import DataError

Array = npt.NDArray[np.float32]

GATES = ("i", "f", "o_gate", "c")
"""Suffixes of the LSTM's arrays: input, forget and output gate, cell."""


def read_oracle(path: Path) -> dict[str, Array]:
    """All arrays of an oracle, float32: emb (V, E), W* (E, H), U* (H, H), b* (H,), W_out (H, V), b_out (V,).

    `*` is each of GATES. Raises DataError with the array's name and shape for one that is absent, misshapen, not of
    floating-point numbers or not finite, and for a file that can't be read.
    """
    try:
        # Opened here, for np.load leaves the file open when it is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = dict(archive.items())
    except (OSError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: no NumPy archive can be read there ({error}); name a .npz file") from error
    return {name: _checked(path, arrays, name, shape) for name, shape in _shapes(path, arrays).items()}


def _shapes(path: Path, arrays: dict[str, Array]) -> dict[str, tuple[int, ...]]:
    """The shape that each array must have, by those of `emb` and `Wi`."""
    for name in ("emb", "Wi"):
        if name not in arrays:
            raise DataError(_absent(path, name, arrays))
        if arrays[name].ndim != 2 or 0 in arrays[name].shape:
            raise DataError(f"{path}: {name} has the shape {arrays[name].shape}, but must have two axes; mend the file")
    (vocabulary, embedding), hidden = arrays["emb"].shape, arrays["Wi"].shape[1]
    shapes: dict[str, tuple[int, ...]] = {"emb": (vocabulary, embedding)}
    for gate in GATES:
        shapes |= {f"W{gate}": (embedding, hidden), f"U{gate}": (hidden, hidden), f"b{gate}": (hidden,)}
    return shapes | {"W_out": (hidden, vocabulary), "b_out": (vocabulary,)}


def _checked(path: Path, arrays: dict[str, Array], name: str, shape: tuple[int, ...]) -> Array:
    if name not in arrays:
        raise DataError(_absent(path, name, arrays))
    array = arrays[name]
    if array.shape != shape:
        raise DataError(f"{path}: {name} has the shape {array.shape}, but must have {shape}; mend the file")
    if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
        raise DataError(f"{path}: {name} ({array.dtype}) must hold finite floating-point numbers; mend the file")
    return array.astype(np.float32)


def _absent(path: Path, name: str, arrays: dict[str, Array]) -> str:
    return f"{path}: it has no array {name}, but {', '.join(arrays) or 'none'}; name an oracle's archive"
