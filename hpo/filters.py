"""The language in which lists are filtered: a subset of Google's AIP-160 (https://google.aip.dev/160).

```
state = completed AND value < 0.3 AND params.lr >= 1e-3
(cause = error OR cause = out_of_memory) AND ended_at > "2026-11-25T08:00:00Z"
NOT params.momentum:*
```
A comparison is FIELD OPERATOR VALUE with = != < <= > >=; `FIELD:*` asks whether there is a value at all. AND, OR, NOT
and parentheses join them; to mix AND and OR takes parentheses, since AIP-160 binds OR first and most languages AND.
A comparison never holds where the field has no value, or one of another type; under NOT it doesn't either.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Any, Literal, cast

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken
from lark.exceptions import VisitError

from hpo.errors import InvalidQueryError
from hpo.table import ParamValue, suggest
from hpo.trial import FailureCause, StudyState, TrialState

MAX_CHARACTERS = 1000

Operator = Literal["=", "!=", "<", "<=", ">", ">="]
_OPPOSITE: dict[Operator, Operator] = {"=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_PYTHON: dict[Operator, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip

_GRAMMAR = r"""
?expression: term | term ("AND" term)+ -> all_of | term ("OR" term)+ -> any_of
?term: "(" expression ")" | "NOT" term -> negated | field OPERATOR value -> compared | field ":" "*" -> present
field: WORD ("." (WORD | STRING | NUMBER))?
value: STRING | NUMBER | WORD
OPERATOR: "!=" | "<=" | ">=" | "=" | "<" | ">"
STRING: /"(\\.|[^"\\])*"/ | /'(\\.|[^'\\])*'/
NUMBER: /[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?(?![\w.])/
WORD: /[^\W\d][\w-]*/
%ignore /\s+/
"""


class Kind(StrEnum):
    """What a field holds, and so what it may be compared with."""

    NUMBER = "a number"
    TIME = "a time"
    TEXT = "a text"
    ANY = "a number, a text, true or false"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a row: a column, or a key of the JSON object in a column."""

    kind: Kind
    column: str
    path: tuple[str, ...] = ()
    """Where in the JSON object of the column."""
    words: tuple[str, ...] = ()
    """All values that a text may have; any text if there are none."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The field stands so to the value."""

    field: Field
    operator: Operator
    value: ParamValue


@dataclass(frozen=True, slots=True)
class Present:
    """The field has a value, or has none."""

    field: Field
    there: bool = True


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple[Filter, ...]


Filter = Compared | Present | AllOf | AnyOf
"""A filter's tree. NOT is not in it: it was moved into the comparisons."""


def _words(states: type[StrEnum]) -> tuple[str, ...]:
    return tuple(each.value for each in states)


TRIAL_FIELDS: Mapping[str, Field] = {
    **{name: Field(Kind.NUMBER, name) for name in ("number", "value", "step", "generation", "parent")},
    **{name: Field(Kind.TIME, name) for name in ("created_at", "started_at", "ended_at")},
    "state": Field(Kind.TEXT, "state", words=_words(TrialState)),
    "cause": Field(Kind.TEXT, "cause", words=_words(FailureCause)),
    "params": Field(Kind.ANY, "params", ("*",)),
}
STUDY_FIELDS: Mapping[str, Field] = {
    **{name: Field(Kind.TIME, name) for name in ("created_at", "started_at", "ended_at")},
    "attempt": Field(Kind.NUMBER, "attempt"),
    "name": Field(Kind.TEXT, "name"),
    "state": Field(Kind.TEXT, "state", words=_words(StudyState)),
    "trainable": Field(Kind.TEXT, "spec", ("trainable",)),
    "priority": Field(Kind.NUMBER, "spec", ("priority",)),
    "labels": Field(Kind.TEXT, "spec", ("labels", "*")),
}
"""A path that ends in `*` takes a key: `params.lr`."""


def parse(text: str, fields: Mapping[str, Field]) -> Filter:
    """The tree of a filter over rows with these fields. Raises InvalidQueryError, which says where and why."""
    if len(text) > MAX_CHARACTERS:
        raise _refused(f"it has {len(text)} characters, but a filter has at most {MAX_CHARACTERS}", "ask for less")
    if not text.isprintable():
        raise _refused("it holds characters that can't be printed", "drop them")
    try:
        found: Filter = _Builder(fields).transform(_parser().parse(text))
    except UnexpectedInput as error:
        raise _misread(text, error) from None
    except VisitError as error:
        raise error.orig_exc from None
    return found


def holds(filter: Filter, read: Callable[[Field], object]) -> bool:
    """Whether the filter holds for a row, of which `read` gives a field's value, or None where it has none."""
    match filter:
        case Compared(field, sign, wanted):
            value = read(field)
            return _kind(value) is _kind(wanted) and _PYTHON[sign](value, wanted)
        case Present(field, there):
            return (read(field) is not None) is there
        case AllOf(parts):
            return all(holds(part, read) for part in parts)
        case AnyOf(parts):
            return any(holds(part, read) for part in parts)


def _refused(detail: str, hint: str) -> InvalidQueryError:
    return InvalidQueryError("filter", detail, hint)


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, start="expression", parser="lalr")


class _Builder(Transformer[Token, Any]):
    """From what was parsed to the tree, with every field and value checked."""

    def __init__(self, fields: Mapping[str, Field]) -> None:
        super().__init__()
        self._fields = fields

    def field(self, tokens: list[Token]) -> tuple[str, Field]:
        name, keys = str(tokens[0]), tokens[1:]
        shown = ".".join(tokens)
        field = self._fields.get(name)
        if field is None:
            known = ", ".join(sorted(self._fields))
            raise _refused(f"{name!r} is no field", suggest(name, self._fields) or f"the fields are {known}")
        takes_key = field.path[-1:] == ("*",)
        if takes_key and not keys:
            raise _refused(f"{name!r} alone says nothing", f"name one of them: {name}.NAME")
        if keys and not takes_key:
            raise _refused(f"{shown!r} is no field, since {name} is {field.kind}", f"write {name}")
        if keys:
            key = _unquoted(keys[0]) if keys[0].type == "STRING" else str(keys[0])
            field = Field(field.kind, field.column, (*field.path[:-1], key))
        return shown, field

    def value(self, tokens: list[Token]) -> Token:
        return tokens[0]

    def compared(self, parts: list[Any]) -> Filter:
        (shown, field), sign, given = parts
        value = _value(shown, field, given)
        if _kind(value) is not float and sign not in ("=", "!="):
            # Texts have no order that is the same in every database.
            raise _refused(f"{shown} {sign} {value!r}: only numbers and times have an order", "compare with = or !=")
        return Compared(field, cast(Operator, str(sign)), value)

    def present(self, parts: list[Any]) -> Filter:
        return Present(parts[0][1])

    def negated(self, parts: list[Filter]) -> Filter:
        return _negation(parts[0])

    def all_of(self, parts: list[Filter]) -> Filter:
        return AllOf(tuple(parts))

    def any_of(self, parts: list[Filter]) -> Filter:
        return AnyOf(tuple(parts))


def _negation(filter: Filter) -> Filter:
    match filter:
        case Compared(field, sign, value):
            return Compared(field, _OPPOSITE[sign], value)
        case Present(field, there):
            return Present(field, not there)
        case AllOf(parts):
            return AnyOf(tuple(map(_negation, parts)))
        case AnyOf(parts):
            return AllOf(tuple(map(_negation, parts)))


def _value(shown: str, field: Field, given: Token) -> ParamValue:
    """What was written, as the field's kind. Raises InvalidQueryError for another kind."""
    text = _unquoted(given) if given.type == "STRING" else str(given)
    match field.kind:
        case Kind.TEXT:
            if field.words and text not in field.words:
                hint = suggest(text, field.words) or f"it is one of {', '.join(field.words)}"
                raise _refused(f"{shown} is never {text!r}", hint)
            return text
        case Kind.NUMBER | Kind.TIME if given.type == "NUMBER":
            return _number(text)
        case Kind.TIME if given.type == "STRING":
            return _time(shown, text)
        case Kind.ANY:
            if given.type == "NUMBER":
                return _number(text)
            return text == "true" if given.type == "WORD" and text in ("true", "false") else text
    hint = 'write seconds since 1970, or "2026-11-25T08:00:00Z"' if field.kind is Kind.TIME else "write 0.3, or 1e-4"
    raise _refused(f"{shown} is {field.kind}, not {str(given)!r}", hint)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _refused(f"{text} is beyond what a number can be", "write a smaller one")
    return number


def _time(shown: str, text: str) -> float:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise _refused(f"{shown}: {text!r} is no time", 'write it as "2026-11-25T08:00:00Z"') from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _unquoted(text: str) -> str:
    """A quoted text; a backslash stands before a quote or another backslash."""
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def _kind(value: object) -> type | None:
    """Numbers are compared with numbers, texts with texts, and truths with truths."""
    if isinstance(value, bool):
        return bool
    return float if isinstance(value, int | float) else str if isinstance(value, str) else None


def _misread(text: str, error: UnexpectedInput) -> InvalidQueryError:
    """Where a filter can't be read on, and why."""
    hint = 'write, for example, state = "completed" AND value < 0.3'
    if isinstance(error, UnexpectedEOF) or (isinstance(error, UnexpectedToken) and error.token.type == "$END"):
        return _refused(f"{_shown(text)} ends too soon" if text.strip() else "it is empty", hint)
    place = error.pos_in_stream or 0
    if isinstance(error, UnexpectedToken) and error.token in ("AND", "OR"):
        if error.accepts & {"AND", "OR"}:
            hint = "put parentheses around one of them: a AND (b OR c)"
            return _refused(f"AND and OR stand side by side at character {place + 1}, {_shown(text[place:])}", hint)
    elif isinstance(error, UnexpectedCharacters) and text[place] in "\"'":
        hint = "close the quotes"
    return _refused(f"it can't be read from character {place + 1} on, {_shown(text[place:])}", hint)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 30 else f"{text[:30]}…")
