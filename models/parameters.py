"""Parameters of a trainable: a frozen dataclass, made from a mapping that is checked. Loads no torch."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

from models.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Base of a trainable's parameters, each of which has a default.

    OF says in errors whose they are; RANGES and CHOICES hold the bounds of numbers, both ends included, and
    what a text may be.
    """

    OF: ClassVar[str]
    RANGES: ClassVar[Mapping[str, tuple[float, float]]]
    CHOICES: ClassVar[Mapping[str, tuple[str, ...]]]

    @classmethod
    def from_params(cls, params: Mapping[str, object]) -> Self:
        """Check a mapping of parameters; those left out keep their default.

        Raises ConfigError for an unknown name, a wrong type, or a value outside its range.
        """
        defaults = {item.name: item.default for item in fields(cls)}
        for name in params:
            if name not in defaults:
                near = difflib.get_close_matches(name, defaults, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(defaults)}"
                raise ConfigError(f"{name}: no parameter of {cls.OF} has this name; {hint}")
        return cls(**{name: cls._checked(name, value, type(defaults[name])) for name, value in params.items()})

    @classmethod
    def check_searched(cls, searched: Mapping[str, Sequence[object]]) -> None:
        """Check the values that stand for the range of each parameter that a study varies; raises ConfigError."""
        for name, values in searched.items():
            for value in values:
                cls.from_params({name: value})

    def to_params(self) -> dict[str, Any]:
        """The mapping that `from_params` turns back into this configuration."""
        return asdict(self)

    @classmethod
    def _checked(cls, name: str, value: object, kind: type) -> Any:
        """The value in the parameter's own type; a whole float serves as an int and an int as a float."""
        # Searchers hand over NumPy scalars as well.
        plain = value.item() if hasattr(value, "item") else value
        if kind is int and isinstance(plain, float) and plain.is_integer():
            plain = int(plain)
        if kind is float and isinstance(plain, int) and not isinstance(plain, bool):
            plain = float(plain)
        if type(plain) is not kind:
            raise ConfigError(
                f"{name}: {value!r} is {type(value).__name__}, but must be {kind.__name__}; correct the value"
            )
        if name in cls.RANGES:
            low, high = cls.RANGES[name]
            if not (isinstance(plain, int | float) and math.isfinite(plain) and low <= plain <= high):
                raise ConfigError(f"{name}: {plain!r} is outside [{low:g}, {high:g}]; choose a value within")
        if name in cls.CHOICES and plain not in cls.CHOICES[name]:
            raise ConfigError(f"{name}: {plain!r} is not one of {', '.join(cls.CHOICES[name])}; choose one of them")
        return plain


def positive(text: str) -> int:
    """An option's whole number that is at least 1; ValueError, which argparse explains, for any other text."""
    number = int(text)
    if number < 1:
        raise ValueError(f"{number} is below 1")
    return number


def parse_assignment(text: str) -> tuple[str, object]:
    """NAME=VALUE as a parameter; the value is a bool, an int, a float, or else a text."""
    name, _, value = text.partition("=")
    if value in ("true", "false"):
        return name, value == "true"
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, value
