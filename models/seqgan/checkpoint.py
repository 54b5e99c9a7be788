"""A checkpoint: a folder with weights, optimizers, progress, configuration and tokenizer.

It holds no random state: every draw is keyed by the seed and the epoch, so a trial that goes on from a
checkpoint equals one that was never interrupted.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models.errors import CheckpointError, ConfigError
from models.seqgan.config import SeqGANConfig
from models.text.characters import CharacterTokenizer

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """What a folder holds; `state` is that of `models.seqgan.learner.Learner.state`."""

    config: SeqGANConfig
    tokenizer: CharacterTokenizer
    state: dict[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the files into a folder that exists."""
    manifest = {
        "format": FORMAT,
        "config": checkpoint.config.to_params(),
        "tokenizer": checkpoint.tokenizer.digest,
    }
    checkpoint.tokenizer.save(folder / "tokenizer.json")
    torch.save(checkpoint.state, folder / "state.pt")
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
        state = torch.load(folder / "state.pt", map_location=device, weights_only=True)
    except ConfigError as error:
        raise CheckpointError(f"{folder}: written by another version ({error}); use that version") from error
    except CheckpointError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{folder}: no whole checkpoint ({error!r}); go on from an earlier one") from error
    tokenizer = CharacterTokenizer.load(folder / "tokenizer.json")
    if tokenizer.digest != manifest["tokenizer"]:
        raise CheckpointError(
            f"{folder}: trained with tokenizer {manifest['tokenizer'][:12]}, but tokenizer.json is "
            f"{tokenizer.digest[:12]}; put the checkpoint's own tokenizer.json back"
        )
    return Checkpoint(config, tokenizer, state)
