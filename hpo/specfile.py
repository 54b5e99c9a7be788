"""From what a user wrote (a file, a request, `--set`) to a checked StudySpec, and back.

All that pydantic finds becomes our Problems: the field, the value, the rule and the remedy.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hpo.algorithms import SCHEDULES, SEARCHES
from hpo.errors import InvalidSpecError, Problem, SpecFileError
from hpo.spec import (
    BoolParameter,
    Budget,
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Logging,
    Objective,
    Resources,
    Retry,
    StudySpec,
    Table,
    suggest,
)


class _YamlLoader(yaml.SafeLoader):
    """PyYAML's safe loader, with the floats of YAML 1.2 and JSON: to 1.1, 1e-3 without a dot is text."""


_YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+\Z"), list("-+.0123456789")
)

_UNIONS = {"search": SEARCHES, "scheduler": SCHEDULES}
_SPELT = {"ray": "ray:NAME"}
_PARAMETERS: dict[str, type[Table]] = {
    "float": FloatParameter, "int": IntParameter, "categorical": CategoricalParameter, "bool": BoolParameter,
}  # fmt: skip
_SCALARS = frozenset({"float", "int", "str", "bool"})
_TAGS = _SCALARS.union(_PARAMETERS, SEARCHES, SCHEDULES, ["[key]"])
"""What pydantic puts between the keys of a location: the members of unions, and a mark of a problem with a key."""


def _pointer(location: tuple[int | str, ...], data: Any, path: tuple[int | str, ...] = ()) -> str:
    """The JSON pointer of a pydantic location and a path from there on, without what pydantic puts between the keys:
    the tags of unions, and the place of a value that stands for a list of one."""
    parts: list[str] = []
    for depth, key in enumerate((*location, *path)):
        inside = isinstance(data, Mapping) and key in data
        if isinstance(data, list | tuple) and isinstance(key, int):
            inside = key < len(data)
        if inside:
            data = data[key]
        elif isinstance(key, int) or (depth < len(location) and key in _TAGS):
            continue
        parts.append(str(key).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{part}" for part in parts)


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """The keys of the table that an unknown key stands in."""
    tables: dict[str, type[Table]] = {
        "objective": Objective, "budget": Budget, "resources": Resources, "retry": Retry,
        "logging": Logging,
    }  # fmt: skip
    parents = [str(key) for key in location[:-1]]
    table = tables.get(parents[0]) if parents else StudySpec
    if table is None and parents[0] == "parameters":
        table = _PARAMETERS.get(parents[-1])
    elif table is None and parents[0] in _UNIONS:
        table = _UNIONS[parents[0]].get(parents[-1])
    return [field.alias or name for name, field in table.model_fields.items()] if table is not None else []


def _unknown_key(pointer: str, location: tuple[int | str, ...]) -> Problem:
    key, known = str(location[-1]), _known_keys(location)
    close = suggest(key, known)
    if location[0] not in _UNIONS or len(location) < 3:
        return Problem(pointer, f"{key!r} is no key here", close or f"known keys: {', '.join(known)}")
    chosen = _SPELT.get(str(location[1]), str(location[1]))
    tables = {_SPELT.get(name, name): table for name, table in _UNIONS[str(location[0])].items()}
    others = {name: [*table.model_fields] for name, table in tables.items() if name != chosen}
    meant = next(iter(difflib.get_close_matches(key, {each for keys in others.values() for each in keys}, n=1)), key)
    takers = [name for name, keys in others.items() if meant in keys]
    hint = close or f"known keys of {chosen}: {', '.join(known)}"
    if takers and (meant == key or not close):
        only = "only" if meant == key else f"did you mean {meant!r}? Only"
        hint = (
            f'{only} {", ".join(takers)} take{"s" * (len(takers) == 1)} it: drop it, or set algorithm = "{takers[0]}"'
        )
    return Problem(pointer, f"{key!r} is no key of algorithm {chosen!r}", hint)


def _unknown_algorithm(union: str, value: Any) -> Problem:
    names = [_SPELT.get(name, name) for name in _UNIONS[union]]
    if not isinstance(value, Mapping):
        return Problem(
            f"/{union}", f"{_shown(value)} is no table of keys", f'write algorithm = "{names[0]}" in [{union}]'
        )
    given = value.get("algorithm")
    hint = suggest(str(given), names) or f"one of {', '.join(names)}"
    return Problem(f"/{union}/algorithm", f"{_shown(given)} is not known", hint)


def _to_problems(error: ErrorDetails, data: Any) -> list[Problem]:
    """What pydantic found, or what one of our own rules told through it."""
    if error["type"] == "rules":
        breaches = error["ctx"]["breaches"]
        return [Problem(_pointer(error["loc"], data, each.path), each.detail, each.hint) for each in breaches]
    return [_to_problem(error, data)]


def _to_problem(error: ErrorDetails, data: Any) -> Problem:
    location, kind, value = error["loc"], error["type"], error["input"]
    pointer = _pointer(location, data)
    context: Mapping[str, Any] = error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(pointer, location)
    if kind == "missing":
        return Problem(pointer, "is missing, but required", f"add {location[-1]}")
    if kind.startswith("union_tag") and location[0] in _UNIONS:
        return _unknown_algorithm(str(location[0]), value)
    if kind == "union_tag_not_found":
        return Problem(f"{pointer}/type", "is missing, but required", "one of float, int, categorical, bool")
    if kind == "union_tag_invalid":
        tag = value.get("type") if isinstance(value, Mapping) else value
        return Problem(f"{pointer}/type", f"{tag!r} is no type of parameter", f"one of {context['expected_tags']}")
    if kind == "literal_error":
        expected = str(context["expected"])
        options = re.findall(r"'([^']*)'", expected)
        return Problem(pointer, f"{value!r} is not known", suggest(str(value), options) or f"one of {expected}")
    # A value that no type of a union takes gives the same problem once a type.
    if location[-1] in _SCALARS and _pointer(location[:-1], data) == pointer:
        return Problem(
            pointer, f"{_shown(value)} is neither text nor a finite number nor a boolean", "give one of these"
        )
    message = error["msg"][0].lower() + error["msg"][1:]
    return Problem(pointer, f"{_shown(value)}: {message}", _remedy(kind, context))


def _shown(value: Any) -> str:
    return repr(value) if len(repr(value)) <= 80 else f"{repr(value)[:77]}..."


def _remedy(kind: str, context: Mapping[str, Any]) -> str:
    """What to do about one of pydantic's own kinds of error."""
    bounds = {"greater_than_equal": "ge", "greater_than": "gt", "less_than_equal": "le", "less_than": "lt"}
    if kind in bounds:
        way = "raise" if kind.startswith("greater") else "lower"
        limit = context[bounds[kind]]
        return f"{way} it to {limit}" if kind.endswith("equal") else f"{way} it past {limit}"
    starts = {
        "int": "give a whole number, without quotes",
        "float": "give a number, without quotes",
        "finite": "give a number that is neither NaN nor infinite",
        "bool": "give true or false, without quotes",
        "string_too_short": "give at least one character",
        "string_too_long": "shorten it",
        "string": "give text in quotes",
        "too_short": "add what is missing",
        "too_long": "leave some out",
        "tuple": "give a list, such as [1, 2]",
        "dict": "give a table of keys",
        "model": "give a table of keys",
        "invalid_key": "put the key in quotes",
    }
    return next((remedy for start, remedy in starts.items() if kind.startswith(start)), "correct the value")


def parse(data: Any) -> StudySpec:
    """A specification out of plain data, or InvalidSpecError with every problem found."""
    if not isinstance(data, Mapping):
        raise InvalidSpecError(
            [Problem("", f"a specification is a table of keys, not {type(data).__name__}", "see examples/")]
        )
    try:
        return StudySpec.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        # pydantic counts only the good items of a list, so that a bad one can make the list too short as well.
        lists = {each["loc"][:cut] for each in details for cut in range(len(each["loc"]))}
        wanted = [each for each in details if each["type"] != "too_short" or each["loc"] not in lists]
        problems = dict.fromkeys(
            problem for each in wanted for problem in _to_problems(each, data)
        )  # each once, in their order
        raise InvalidSpecError(problems) from None


def read_file(path: Path) -> dict[str, Any]:
    """The plain data of a TOML, YAML or JSON file, not yet checked. Raises SpecFileError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecFileError(f"{path}: no such file; give the path of a .toml, .yaml or .json specification") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecFileError(f"{path}: can't be read ({error}); give a UTF-8 text file") from None
    try:
        match path.suffix.lower():
            case ".toml":
                data: Any = tomllib.loads(text)
            case ".yaml" | ".yml":
                data = yaml.load(text, _YamlLoader)  # a SafeLoader
            case ".json":
                data = json.loads(text)
            case suffix:
                raise SpecFileError(f"{path}: {suffix or 'no suffix'} is not known; use .toml, .yaml or .json")
    except (tomllib.TOMLDecodeError, yaml.YAMLError, json.JSONDecodeError) as error:
        raise SpecFileError(f"{path} is no valid {path.suffix[1:].upper()}: {error}; correct it there") from None
    if not isinstance(data, dict):
        raise SpecFileError(f"{path}: a specification is a table of keys, not {type(data).__name__}; see examples/")
    return data


def override(data: Mapping[str, Any], assignments: list[str]) -> dict[str, Any]:
    """The data with `a.b=value` assignments applied; a value is read as TOML, else taken as a string.

    Raises InvalidSpecError for an assignment of another form.
    """
    result: dict[str, Any] = json.loads(json.dumps(data, default=str))
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        keys = [key.strip() for key in path.split(".")]
        if not equals or not all(keys):
            raise InvalidSpecError(
                [
                    Problem(
                        "",
                        f"--set {assignment!r} is not of the form key.key=value",
                        "for example budget.trials=4",
                    )
                ]
            )
        try:
            value: Any = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        table = result
        for depth, key in enumerate(keys[:-1]):
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                where = ".".join(keys[: depth + 1])
                raise InvalidSpecError([Problem(f"/{'/'.join(keys)}", f"{where} is no table", "correct the path")])
        table[keys[-1]] = value
    return result


def to_data(spec: StudySpec) -> dict[str, Any]:
    """Plain JSON data that `parse` reads back to the same specification."""
    return spec.model_dump(mode="json", exclude_none=True, by_alias=True)
