"""A checkpoint: a folder with weights, optimizers, progress, configuration and everything that reads text.

It holds no random state: every draw is keyed by the seed and the epoch, so a trial that goes on from a
checkpoint equals one that was never interrupted.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models.errors import CheckpointError, ConfigError
from models.seqgan.config import SeqGANConfig
from models.text.reader import Reader

FORMAT = 2


@dataclass(frozen=True)
class Checkpoint:
    """What a folder holds; `state` is that of `models.seqgan.learner.Learner.state`, with the progress."""

    config: SeqGANConfig
    reader: Reader
    state: dict[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the files into a folder that exists."""
    checkpoint.reader.save(folder)
    torch.save(checkpoint.state, folder / "state.pt")
    manifest = {
        "format": FORMAT,
        "config": checkpoint.config.to_params(),
        "digests": checkpoint.reader.digests,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, ensure_ascii=False, indent=1), encoding="utf-8")


def load_checkpoint(folder: Path, device: str = "cpu") -> Checkpoint:
    """Read a folder; raises CheckpointError when a file is absent, unreadable or of another checkpoint."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise CheckpointError(
                f"{folder}: format {manifest['format']}, but this version reads {FORMAT}; use the one that wrote it"
            )
        config = SeqGANConfig.from_params(manifest["config"])
        digests = dict(manifest["digests"])
        state = torch.load(folder / "state.pt", map_location=device, weights_only=True)
    except ConfigError as error:
        raise CheckpointError(f"{folder}: written by another version ({error}); use that version") from error
    except CheckpointError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{folder}: no whole checkpoint ({error!r}); go on from an earlier one") from error
    reader = Reader.load(
        folder,
        article_length=config.article_length,
        headline_length=config.headline_length,
        history_length=config.history_length,
    )
    _same(folder, digests, reader.digests)
    return Checkpoint(config, reader, state)


def _same(folder: Path, trained: Mapping[str, object], found: Mapping[str, str]) -> None:
    """Weights only mean something with the very files that read their texts; raises CheckpointError."""
    for file in sorted({*trained, *found}):
        if trained.get(file) != found.get(file):
            raise CheckpointError(
                f"{folder}: trained with {file} {str(trained.get(file))[:12]}, but the file there is "
                f"{str(found.get(file))[:12]}; put the checkpoint's own {file} back"
            )
