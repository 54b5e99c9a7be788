"""The name of a trainable -> the function that is trained. The only place where hpo names models.

A name is either one of ours, below, or the user's own `package.module:function`, which must be importable where the
workers run (in the job's working directory, or installed there).
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from hpo.errors import InvalidSpecError, Problem, TrainableNotFoundError


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A trainable that comes with hpo."""

    target: str
    """`package.module:function`."""
    metrics: tuple[str, ...]
    """What it reports: an objective must be one of these."""
    check: str
    """`package.module:function` that checks (searched parameters, constants) without loading torch; it raises
    ValueError with the value, the rule and the remedy."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Parameters that name a file, each with the one value that doesn't."""
    mutable: frozenset[str] = frozenset()
    """Parameters that may change while a trial trains; the others shape its weights or its data."""


_SEQGAN_MUTABLE = frozenset({
    "lr", "weight_decay", "clip", "batch_size", "dropout", "prior_dropout", "eda_alpha", "lambda_mle",
    "lambda_mle_decay", "lambda_mle_floor", "lambda_adv", "entropy_coef", "adversarial_updates", "n_rollouts",
    "rollout_stride", "reward", "baseline", "lr_d", "d_weight_decay", "d_updates", "d_dropout", "d_accuracy_limit",
    "label_smoothing", "patience",
})  # fmt: skip
_ORACLE_MUTABLE = frozenset({
    "lr", "lr_adv", "clip", "batch_size", "rate_decay", "updates", "n_rollouts", "baseline", "d_lr", "d_sets",
    "d_epochs", "d_samples", "d_keep", "d_l2",
})  # fmt: skip

BUILT_IN: dict[str, BuiltIn] = {
    "headlines": BuiltIn(
        "models.seqgan.trial:train",
        ("perplexity", "entropy", "train_loss", "aux_loss", "phase", "reward", "d_loss", "d_accuracy", "seconds"),
        check="models.seqgan.preflight:check",
        files={"data": "peoples_daily", "embeddings": ""},
        mutable=_SEQGAN_MUTABLE,
    ),
    "oracle": BuiltIn(
        "models.seqgan.paper.trial:train",
        ("nll_oracle", "nll_test", "entropy", "train_loss", "phase", "reward", "d_loss", "seconds"),
        check="models.seqgan.paper.preflight:check",
        files={"oracle": "seeded"},
        mutable=_ORACLE_MUTABLE,
    ),
}

_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_target(name: str) -> bool:
    """Whether the name has the form `package.module:function`."""
    return _TARGET.fullmatch(name) is not None


def preflight(
    name: str, searched: Mapping[str, Sequence[object]], fixed: Mapping[str, object], *, folder: Path | None = None
) -> str | None:
    """Check what can be known before a study starts, without loading the trainable itself.

    `searched` gives, for each parameter that is varied, the values that stand for its range (see `spec.extremes`).
    One of ours checks its parameters and data. For the user's own, the module must be found in `folder` (its working
    directory) or installed here, and its source must define the function. Raises InvalidSpecError. What comes back is
    what one of ours says of its data, for people.
    """
    if name in BUILT_IN:
        try:
            return str(load(BUILT_IN[name].check)(dict(searched), dict(fixed)))
        except ValueError as error:
            raise InvalidSpecError([_located(str(error), searched, fixed)]) from None
    problem = _missing(name, folder)
    if problem is not None:
        raise InvalidSpecError([problem])
    return None


def _located(message: str, searched: Mapping[str, object], fixed: Mapping[str, object]) -> Problem:
    """What a check complains of, at its field: the message opens with the field's name, or is about the data."""
    name, _, rest = message.partition(": ")
    pointer = f"/fixed/{name}" if name in fixed else f"/parameters/{name}" if name in searched else None
    detail, _, hint = (rest if pointer else message).rpartition("; ")
    return Problem(pointer or "/fixed/data", detail or hint, hint if detail else "correct the value")


def files_of(name: str, *, folder: Path | None = None) -> Mapping[str, str]:
    """A trainable's parameters that name a file, each with the one value that doesn't.

    Ours are above, also under the name of their function. The user's own says it in its module, whose source is read
    (`folder` as for `preflight`): `HPO_FILES = ("data", "vectors")`; there "" is the value that names none.
    """
    for ours, built_in in BUILT_IN.items():
        if name in (ours, built_in.target):
            return built_in.files
    tree = _parsed(name, folder)
    if not isinstance(tree, ast.Module):
        return {}
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="HPO_FILES")], value=ast.Tuple(elts=names) | ast.List(elts=names)):
                return {each.value: "" for each in names if isinstance(each, ast.Constant) and type(each.value) is str}
    return {}


def _missing(target: str, folder: Path | None) -> Problem | None:
    """Why `package.module:function` can't be loaded, as far as its source tells; None if it can."""
    tree = _parsed(target, folder)
    if not isinstance(tree, ast.Module):
        return tree
    function = target.partition(":")[2]
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    if function in _bound(tree):
        return None
    hint = f"it defines {', '.join(defined)}" if defined else "it defines no function"
    return Problem("/trainable", f"{target!r}: {_source(target, folder)} has no function {function!r}", hint)


def _parsed(target: str, folder: Path | None) -> ast.Module | Problem | None:
    """The module of `package.module:function`; None where its source isn't at hand."""
    source = _source(target, folder)
    if isinstance(source, Problem) or source is None:
        return source
    try:
        return ast.parse(Path(source).read_text(encoding="utf-8"), filename=source)
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        return Problem("/trainable", f"{target!r}: {source} can't be read as Python: {error}", "mend the file")


def _source(target: str, folder: Path | None) -> str | Problem | None:
    """The file of the module; None for one that isn't of Python."""
    places = [str(folder)] if folder is not None else []
    source = None
    search: list[str] | None = [*places, *sys.path]
    module = target.partition(":")[0]
    for depth, part in enumerate(module.split(".")):
        # The finder of sys.path, not importlib.util.find_spec, which would import the parent packages.
        found = PathFinder.find_spec(".".join(module.split(".")[: depth + 1]), search)
        if found is None:
            where = f"in {folder} or installed here" if folder is not None else "installed here"
            return Problem(
                "/trainable",
                f"{target!r}: there is no module {part!r} {where}",
                "name the folder that holds it with --working-dir",
            )
        search = list(found.submodule_search_locations or [])
        source = found.origin
    return source if source is not None and source.endswith(".py") else None


def _bound(tree: ast.Module) -> set[str]:
    """Names that a module binds by import or assignment, at any depth."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
    return names


def load(name: str) -> Callable[..., Any]:
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
