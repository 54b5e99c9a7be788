"""What readers did with a headline, as numbers a network can take."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.errors import CheckpointError
from models.text.columns import ClickRecord, Pair

FEATURES = ("log_ctr", "dwell", "recency", "popularity")
WIDTH = 2 * len(FEATURES)
LIMIT = 4.0


@dataclass(frozen=True)
class ClickScaler:
    """Means and standard deviations of FEATURES over the training pairs.

    The feature of a pair in a group (an A/B test) is its difference from the group's mean: what the
    headline did, not what its story did. That of another pair is its difference from the training mean.
    """

    means: tuple[float, ...]
    deviations: tuple[float, ...]

    @classmethod
    def fit(cls, pairs: Sequence[Pair]) -> ClickScaler:
        """Means and deviations of these pairs; 0 and 1 for a feature that none of them has."""
        values_NF = _values(pairs)
        means = tuple(_mean(values_NF[:, i]) for i in range(len(FEATURES)))
        centred_NF = _centred(values_NF, pairs, means)
        spreads = (math.sqrt(_mean(centred_NF[:, i] ** 2)) for i in range(len(FEATURES)))
        return cls(means, tuple(spread if spread > 1e-6 else 1.0 for spread in spreads))

    def features(self, pairs: Sequence[Pair]) -> Tensor:
        """(N, 8), float32: each of FEATURES in standard deviations, within ±4, then for each whether it is known.

        log_ctr = log((clicks + .5) / (impressions + 1)); the others are log(1 + x). An unknown one is 0.
        Groups are those among `pairs`: alone in its group, a pair has zeros.
        """
        centred_NF = _centred(_values(pairs), pairs, self.means) / np.array(self.deviations)
        known_NF = ~np.isnan(centred_NF)
        scaled_NF = np.where(known_NF, centred_NF.clip(-LIMIT, LIMIT), 0.0)
        return torch.from_numpy(np.concatenate([scaled_NF, known_NF], axis=1).astype(np.float32))

    def to_json(self) -> str:
        """A text that `from_json` turns back into this scaler."""
        return json.dumps({"means": self.means, "deviations": self.deviations})

    @classmethod
    def from_json(cls, text: str) -> ClickScaler:
        """The scaler of a checkpoint; raises CheckpointError if `text` is none."""
        try:
            content = json.loads(text)
            means, deviations = (tuple(map(float, content[name])) for name in ("means", "deviations"))
            if not len(means) == len(deviations) == len(FEATURES) or not min(deviations) > 0:
                raise ValueError(f"{len(FEATURES)} means and positive deviations are needed")
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"click scaler: {text!r} is none ({error!r}); use a whole checkpoint") from error
        return cls(means, deviations)


def _values(pairs: Sequence[Pair]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(N, F) unscaled features, NaN where unknown."""
    rows = [_row(pair.click) if pair.click else [math.nan] * len(FEATURES) for pair in pairs]
    return np.array(rows, dtype=np.float64).reshape(len(pairs), len(FEATURES))


def _row(click: ClickRecord) -> list[float]:
    # The half and the one keep a headline without clicks finite, and one that few saw near the others.
    seen = click.clicks is not None and click.impressions is not None
    log_ctr = math.log((click.clicks + 0.5) / (click.impressions + 1)) if seen else math.nan  # type: ignore[operator]
    rest = (click.dwell, click.recency, click.popularity)
    return [log_ctr, *(math.nan if value is None else math.log1p(value) for value in rest)]


def _centred(values_NF: Any, pairs: Iterable[Pair], means: tuple[float, ...]) -> Any:
    """Each value less its group's mean, or the given mean outside a group."""
    names = [pair.click.group if pair.click else None for pair in pairs]
    codes = {name: code for code, name in enumerate(dict.fromkeys(name for name in names if name is not None))}
    centred_NF = values_NF - np.array(means)
    rows_G = np.array([row for row, name in enumerate(names) if name is not None], dtype=np.int64)
    groups_G = np.array([codes[name] for name in names if name is not None], dtype=np.int64)
    for feature in range(values_NF.shape[1]):
        values_G = values_NF[rows_G, feature]
        known_G = ~np.isnan(values_G)
        totals = np.bincount(groups_G[known_G], values_G[known_G], minlength=len(codes))
        counts = np.bincount(groups_G[known_G], minlength=len(codes))
        centred_NF[rows_G, feature] = values_G - (totals / np.maximum(counts, 1))[groups_G]
    return centred_NF


def _mean(values: Any) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0
