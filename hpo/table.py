"""What every table of a specification is: frozen, strict about its keys, and clear about what breaks a rule."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Strict
from pydantic_core import PydanticCustomError, PydanticKnownError


def _no_stand_in(value: object) -> object:
    if isinstance(value, bool | str):
        raise PydanticKnownError("int_type")
    return value


Whole = Annotated[int, BeforeValidator(_no_stand_in)]
"""A whole number, which JSON may write as 3.0; neither "3" nor true stands for one."""
Real = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]
ParamValue = float | int | str | bool
"""Types matter: True is not 1, and 1 is not 1.0."""
Typed = tuple[type, ParamValue]


class Table(BaseModel):
    """A docstring under a field is its description in the reference and in OpenAPI."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Breach(NamedTuple):
    """One broken rule; `path` is where, relative to the table or field that was checked."""

    path: tuple[str | int, ...]
    detail: str
    hint: str


def refusal(breaches: Iterable[Breach]) -> PydanticCustomError:
    """An error that carries what was found through pydantic to `hpo.specfile`."""
    found = tuple(breaches)
    return PydanticCustomError("rules", "{detail}", {"detail": found[0].detail, "breaches": found})


def refused(field: str, detail: str, hint: str) -> PydanticCustomError:
    """A refusal for one rule; `field` is relative to the table, "" for the table or value itself."""
    return refusal([Breach((field,) if field else (), detail, hint)])


def suggest(word: str, known: Iterable[str]) -> str:
    """`did you mean …?`, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def typed(value: ParamValue) -> Typed:
    """A key that keeps True, 1 and 1.0 apart."""
    return type(value), value


@lru_cache(maxsize=4096)
def exact(number: float) -> Fraction:
    """The decimal that the user wrote: 0.1 is 1/10, so that 0.3 - 0.1 is 0.2."""
    return Fraction(Decimal(repr(number)))
