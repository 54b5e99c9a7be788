"""The name of a trainable -> the function that is trained. The only place where hpo names models.

A name is either one of ours, below, or the user's own `package.module:function`, which must be importable where the
workers run (in the job's working directory, or installed there).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hpo.errors import TrainableNotFoundError


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A trainable that comes with hpo."""

    target: str
    """`package.module:function`."""
    metrics: tuple[str, ...]
    """What it reports: an objective must be one of these."""


BUILT_IN: dict[str, BuiltIn] = {
    "headlines": BuiltIn(
        "models.seqgan.trial:train",
        ("perplexity", "entropy", "train_loss", "phase", "reward", "seconds"),
    ),
}

_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_target(name: str) -> bool:
    """Whether the name has the form `package.module:function`."""
    return _TARGET.fullmatch(name) is not None


def load(name: str) -> Callable[..., None]:
    """The function of a trainable's name.

    Raises TrainableNotFoundError when the module can't be found or has no such function. An error inside the
    module goes through as it is: it is the user's to read.
    """
    target = BUILT_IN[name].target if name in BUILT_IN else name
    if not is_target(target):
        raise TrainableNotFoundError(
            f"trainable {name!r} is neither one of ours ({', '.join(sorted(BUILT_IN))}) nor of the form "
            "package.module:function; correct the name"
        )
    module_name, _, function_name = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise  # the module was found; something that it imports was not
        raise TrainableNotFoundError(
            f"trainable {name!r}: there is no module {error.name!r} here; "
            "name the folder that holds it with --working-dir, or install it where the workers run"
        ) from error
    function: Any = getattr(module, function_name, None)
    if not callable(function):
        offered = sorted(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
        raise TrainableNotFoundError(
            f"trainable {name!r}: module {module_name!r} has no function {function_name!r}; "
            f"it has {', '.join(offered[:8]) or 'none'}"
        )
    return function  # type: ignore[no-any-return]
