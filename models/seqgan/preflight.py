"""What can be checked before a trial starts, without loading torch: names, ranges and the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from models.errors import ConfigError
from models.seqgan.config import SeqGANConfig
from models.text.pairs import load_pairs


def check(searched: Mapping[str, Sequence[object]], fixed: Mapping[str, object]) -> str:
    """What will be trained on, for people: `27,595 pairs to train on, 1,433 held out, 1,342 for tests`.

    Raises ConfigError for a parameter that the SeqGAN doesn't have or a value out of range, DataError for pairs
    that can't be read (file, line, column).

    `searched` gives the values that stand for each varied parameter's range, `fixed` the constants.
    """
    config = SeqGANConfig.from_params(fixed)
    SeqGANConfig.check_searched(searched)
    if config.embeddings and not Path(config.embeddings).is_file():
        raise ConfigError(f"embeddings: {config.embeddings!r} is not a file; give a word2vec text file or an .npz file")
    pairs = load_pairs(config.data)
    return (
        f"{config.data}: {len(pairs.train):,} pairs to train on, {len(pairs.dev):,} held out, "
        f"{len(pairs.test):,} for tests"
    )
