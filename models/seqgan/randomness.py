"""Random numbers keyed by what they are for, so that no generator's state is ever saved."""

from __future__ import annotations

import hashlib

import torch


def derive_seed(*key: int | str) -> int:
    """A 63-bit seed from a key such as (seed, "order", epoch); other keys give independent seeds."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def keyed_generator(device: str, *key: int | str) -> torch.Generator:
    """A fresh generator on `device` for one key."""
    return torch.Generator(device=device).manual_seed(derive_seed(*key))
