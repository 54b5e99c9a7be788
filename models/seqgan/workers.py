"""How a trial's workers compute and agree: precision, averaged gradients and figures, one tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


def autocast(device: str, precision: str) -> AbstractContextManager[Any]:
    """Matrix products in bfloat16 if `precision` is "bf16".

    Around one forward pass and no more: inside, weights are cast once, and an update would go unseen.
    """
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16")


def averaging(module: nn.Module, device: str, world_size: int) -> nn.Module:
    """The module itself, or one that averages its gradients over the workers."""
    if world_size == 1:
        return module
    on_gpu = device.startswith("cuda")
    return DistributedDataParallel(module, device_ids=[torch.device(device)] if on_gpu else None)


def mean_over_workers(value: float, device: str, world_size: int) -> float:
    """The mean of a figure over all workers, the same on each: decisions that follow from it agree."""
    if world_size == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64, device=device)
    distributed.all_reduce(total)
    return float(total) / world_size


def first_decides(build: Callable[[], T], rank: int, world_size: int) -> T:
    """Worker 0's result on every worker. Training a tokenizer twice gives two vocabularies."""
    shared = [build() if rank == 0 else None]
    if world_size > 1:
        distributed.broadcast_object_list(shared, src=0)
    return shared[0]  # type: ignore[return-value]
