"""From what a user wrote (a file, a request, `--set`) to a checked StudySpec, and back.

All that pydantic finds becomes our Problems: the field, the value, the rule and the remedy.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hpo.errors import InvalidSpecError, Problem, SpecFileError
from hpo.spec import (
    BoolParameter,
    Budget,
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Objective,
    Resources,
    Retry,
    SchedulerSpec,
    SearchSpec,
    StudySpec,
    Table,
    suggest,
)


class _YamlLoader(yaml.SafeLoader):
    """PyYAML's safe loader, with the floats of YAML 1.2 and JSON: to 1.1, 1e-3 without a dot is text."""


_YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+\Z"), list("-+.0123456789")
)

_TAGS = frozenset({"float", "int", "categorical", "bool", "str"})


def _pointer(location: tuple[int | str, ...], data: Any) -> str:
    """The JSON pointer of a pydantic location, without the tags of unions that pydantic puts between the keys."""
    parts: list[str] = []
    for key in location:
        inside = isinstance(data, Mapping) and key in data
        if isinstance(data, list | tuple) and isinstance(key, int):
            inside = key < len(data)
        if inside:
            data = data[key]
        elif key in _TAGS or key == "[key]":  # pydantic's mark of a problem with the key itself
            continue
        parts.append(str(key).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{part}" for part in parts)


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """The keys of the table that an unknown key stands in."""
    tables: dict[str, type[Table]] = {
        "objective": Objective, "search": SearchSpec, "scheduler": SchedulerSpec, "budget": Budget,
        "resources": Resources, "retry": Retry,
    }  # fmt: skip
    tagged: dict[str, type[Table]] = {
        "float": FloatParameter, "int": IntParameter, "categorical": CategoricalParameter, "bool": BoolParameter,
    }  # fmt: skip
    parents = [str(key) for key in location[:-1]]
    if not parents:
        return list(StudySpec.model_fields)
    if parents[0] == "parameters" and parents[-1] in tagged:
        return list(tagged[parents[-1]].model_fields)
    return list(tables[parents[0]].model_fields) if parents[0] in tables else []


def _to_problem(error: ErrorDetails, data: Any) -> Problem:
    location, kind, value = error["loc"], error["type"], error["input"]
    pointer = _pointer(location, data)
    context: Mapping[str, Any] = error.get("ctx", {})
    if kind == "rule":
        field = context["field"]
        return Problem(f"{pointer}/{field}" if field else pointer, context["detail"], context["hint"])
    if kind == "extra_forbidden":
        known = _known_keys(location)
        hint = suggest(str(location[-1]), known) or (f"known keys: {', '.join(known)}" if known else "drop it")
        return Problem(pointer, f"{str(location[-1])!r} is no key here", hint)
    if kind == "missing":
        return Problem(pointer, "is missing, but required", f"add {location[-1]}")
    if kind == "union_tag_not_found":
        return Problem(f"{pointer}/type", "is missing, but required", "one of float, int, categorical, bool")
    if kind == "union_tag_invalid":
        tag = value.get("type") if isinstance(value, Mapping) else value
        return Problem(f"{pointer}/type", f"{tag!r} is no type of parameter", f"one of {context['expected_tags']}")
    if kind == "literal_error":
        expected = str(context["expected"])
        options = re.findall(r"'([^']*)'", expected)
        return Problem(pointer, f"{value!r} is not known", suggest(str(value), options) or f"one of {expected}")
    shown = repr(value) if len(repr(value)) <= 80 else f"{repr(value)[:77]}..."
    if location[-1] in _TAGS:  # a value that no type of a union takes: the same problem once a type
        return Problem(pointer, f"{shown} is neither text nor a finite number nor a boolean", "give one of these")
    message = error["msg"][0].lower() + error["msg"][1:]
    return Problem(pointer, f"{shown}: {message}", _remedy(kind, context))


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
        problems = dict.fromkeys(_to_problem(each, data) for each in wanted)  # each once, in their order
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
    return spec.model_dump(mode="json", exclude_none=True)
