"""Spaces for searchers: flat, conditional, forbidden, and small random ones."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

PARAMETERS: dict[str, Any] = {
    "lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "dropout": {"type": "float", "low": 0.0, "high": 0.5, "step": 0.1},
    "width": {"type": "int", "low": 16, "high": 1024, "log": True},
    "depth": {"type": "int", "low": 1, "high": 9, "step": 2},
    "flag": {"type": "bool"},
    "mixed": {"type": "categorical", "choices": [True, 1, 1.0, "1", False]},
}
FINITE = {name: PARAMETERS[name] for name in ("dropout", "depth", "flag", "mixed")}  # 6 * 5 * 2 * 5 = 300

CONDITIONAL: dict[str, Any] = {
    "lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "layers": {"type": "int", "low": 1, "high": 4},
    "optimizer": {"type": "categorical", "choices": ["sgd", "adam", "lion"]},
    "momentum": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.25, "when": {"optimizer": "sgd"}},
    "nesterov": {"type": "bool", "when": {"optimizer": "sgd"}},
    "schedule": {"type": "categorical", "choices": ["constant", "cosine"], "when": {"layers": [2, 3, 4]}},
    # Two levels deep, and on two parents.
    "warmup": {"type": "int", "low": 1, "high": 10, "when": {"schedule": "cosine", "nesterov": True}},
}
FORBIDDEN: list[dict[str, Any]] = [{"optimizer": "lion", "layers": [3, 4]}, {"nesterov": True, "layers": 2}]
FINITE_CONDITIONAL = {name: parameter for name, parameter in CONDITIONAL.items() if name != "lr"}

SQUARE: dict[str, Any] = {
    "x": {"type": "float", "low": 0.0, "high": 1.0},
    "y": {"type": "float", "low": 0.0, "high": 1.0},
}

_VALUES: dict[str, list[Any]] = {"a": [1, 2, 3], "b": [False, True], "c": ["u", "v"], "d": [0.0, 0.5, 1.0]}
_KINDS: dict[str, dict[str, Any]] = {
    "a": {"type": "int", "low": 1, "high": 3},
    "b": {"type": "bool"},
    "c": {"type": "categorical", "choices": ["u", "v"]},
    "d": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.5},
    "e": {"type": "float", "low": 1e-3, "high": 1.0, "log": True},
}


@st.composite
def small_spaces(draw: st.DrawFn, *, finite: bool) -> dict[str, Any]:
    """Up to five parameters in a random order of parents and children, and up to three forbidden rules: the keys
    `parameters` and `forbidden` of a specification, which may leave nothing."""
    names = draw(st.permutations(["a", "b", "c", "d"] if finite else ["a", "b", "c", "d", "e"]))
    parameters: dict[str, Any] = {}
    for place, name in enumerate(names):
        candidates = [parent for parent in names[:place] if parent in _VALUES]
        parents = draw(st.lists(st.sampled_from(candidates), max_size=2, unique=True)) if candidates else []
        parameters[name] = {**_KINDS[name], "when": {parent: draw(_some(parent)) for parent in parents}}
    rules = st.lists(st.sampled_from(sorted(_VALUES)), min_size=1, max_size=2, unique=True)
    forbidden = [{name: draw(_some(name)) for name in draw(rules)} for _ in range(draw(st.integers(0, 3)))]
    return {"parameters": parameters, "forbidden": forbidden}


def _some(name: str) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(_VALUES[name]), min_size=1, max_size=len(_VALUES[name]) - 1, unique=True)
