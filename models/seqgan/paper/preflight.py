"""What can be checked before a trial starts, without loading torch: names, ranges and the oracle's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from models.errors import DataError
from models.seqgan.paper.config import PaperConfig
from models.seqgan.paper.oracle_file import read_oracle

SEEDED = "seeded"


def check(searched: Mapping[str, Sequence[object]], fixed: Mapping[str, object]) -> str:
    """What will be trained on, for people: `10,000 texts of 20 tokens, vocabulary 5,000, of seeded oracle 0`.

    Raises ConfigError for a parameter that doesn't exist or a value out of range, DataError for an oracle's file
    that can't be read or lacks an array. `searched` gives the values that stand for each varied parameter's range,
    `fixed` the constants.
    """
    config = PaperConfig.from_params(fixed)
    PaperConfig.check_searched(searched)
    vocabulary, source = config.vocabulary, f"seeded oracle {config.oracle_seed}"
    if config.oracle != SEEDED:
        try:
            arrays = read_oracle(Path(config.oracle))
        except DataError as error:
            raise DataError(f"oracle: {error}") from error
        vocabulary, source = len(arrays["b_out"]), f"the oracle in {config.oracle}"
    return f"{config.num_texts:,} texts of {config.length} tokens, vocabulary {vocabulary:,}, of {source}"
