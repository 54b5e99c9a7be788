"""What every trial of a warm process starts from, whatever the last one left: seeds, torch's defaults, memory.

A trainable need not use torch, and to import it takes seconds of a CPU. So nothing here imports it: what concerns
torch is done where torch is there, and as soon as it comes.
"""

from __future__ import annotations

import gc
import importlib.abc
import importlib.machinery
import importlib.util
import random
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any


class Process:
    """A worker's process between its trials."""

    def __init__(self, threads: int) -> None:
        self._threads, self._seed = threads, 0
        self._modules = 0
        if torch := loaded_torch():
            torch.set_num_threads(threads)
        else:
            sys.meta_path.insert(0, _OnImport("torch", self._torch_has_come))

    def begin(self, seed: int) -> None:
        """Before a trial."""
        import numpy

        self._seed = seed
        random.seed(seed)
        numpy.random.seed(seed % 2**32)
        if torch := loaded_torch():
            torch.manual_seed(seed)
            torch.set_grad_enabled(True)
            torch.set_default_dtype(torch.float32)
            if torch.are_deterministic_algorithms_enabled():  # asked first: turning it off imports a compiler, 1.5 s
                torch.use_deterministic_algorithms(False)

    def end(self) -> None:
        """After a trial."""
        gc.collect()
        if (torch := loaded_torch()) and torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(sys.modules) > self._modules:
            self.freeze()

    def freeze(self) -> None:
        """What is imported by now stays: collecting between trials need not look at it (70 ms a time, with torch)."""
        gc.freeze()
        self._modules = len(sys.modules)

    def _torch_has_come(self, torch: Any) -> None:
        torch.set_num_threads(self._threads)
        torch.manual_seed(self._seed)


def loaded_torch() -> Any:
    """The module, if something has imported it."""
    return sys.modules.get("torch")


class _OnImport(importlib.abc.MetaPathFinder):
    """Calls back once, when a module has been imported whole."""

    def __init__(self, name: str, call: Callable[[ModuleType], None]) -> None:
        self._name, self._call = name, call

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                self._call(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
