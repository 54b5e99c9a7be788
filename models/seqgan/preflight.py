"""What can be checked before a trial starts, without loading torch: names, ranges and the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from models.seqgan.config import SeqGANConfig
from models.text.pairs import load_pairs


def check(searched: Iterable[str], fixed: Mapping[str, object]) -> None:
    """Raise ConfigError for a parameter that the SeqGAN doesn't have or a constant out of range, DataError for pairs
    that can't be read (file, line, column).

    `searched` are the names of the parameters that a study varies, `fixed` its constants.
    """
    config = SeqGANConfig.from_params(fixed)
    known = config.to_params()
    SeqGANConfig.from_params({name: known.get(name) for name in searched})
    load_pairs(config.data)
