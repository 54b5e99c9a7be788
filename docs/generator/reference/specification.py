"""The reference of the specification, made of `hpo.spec`'s models."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from docs.generator.reference.schemas import Schema, table, undescribed
from hpo.algorithms import SCHEDULES, SEARCHES
from hpo.parameters import BoolParameter, CategoricalParameter, FloatParameter, IntParameter
from hpo.spec import Budget, Objective, Resources, Retry, StudySpec
from hpo.table import Table

_PARAMETERS = (FloatParameter, IntParameter, CategoricalParameter, BoolParameter)
SECTIONS: tuple[tuple[str, str, tuple[type[Table], ...]], ...] = (
    ("Top level", "The keys outside of any table.", (StudySpec,)),
    ("parameters.NAME", "A table for each parameter; `type` says of which kind it is.", _PARAMETERS),
    ("objective", "`[objective]`, or one `[[objective]]` for each of several.", (Objective,)),
    ("budget", "", (Budget,)),
    ("search", "Which searcher picks the configurations: `algorithm`, and its options.", tuple(SEARCHES.values())),
    ("scheduler", "Which scheduler says how long a trial lasts: `algorithm`, and more.", tuple(SCHEDULES.values())),
    ("resources", "", (Resources,)),
    ("retry", "", (Retry,)),
)  # fmt: skip

_INTRO = """\
# The specification

All that a study's file may say. TOML, YAML and JSON are one shape, and so is `spec` in a request over REST. A key that
isn't here is refused, and so is a value that breaks a rule, before anything starts.

The smallest one:

```toml
name = "digits"
trainable = "train:train"
[objective]
metric = "accuracy"
direction = "maximize"
[parameters]
lr = { type = "float", low = 1e-3, high = 1.0, log = true }
[budget]
trials = 12
```
"""


def page() -> str:
    parts = [_INTRO]
    for title, text, models in SECTIONS:
        parts.append(f"## {title}\n\n{text or _doc(models[0])}\n")
        for model in models:
            if len(models) > 1:
                parts.append(f"### {_title(model)}\n\n{_doc(model)}\n")
            parts.append(table(_schema(model), _link))
    return "\n".join(parts)


def gaps() -> Iterator[str]:
    """Tables and fields without a description."""
    for _, _, models in SECTIONS:
        for model in models:
            if not _doc(model):
                yield model.__name__
            yield from undescribed(model.__name__, _schema(model))


def _schema(model: type[Table]) -> Schema:
    return model.model_json_schema(by_alias=True)


def _doc(model: type[Table]) -> str:
    return inspect.cleandoc(model.__dict__.get("__doc__") or "")


def _title(model: type[Table]) -> str:
    """The key that says which table it is: `algorithm = "optuna"`."""
    fields = _schema(model)["properties"]
    key = next(key for key in ("algorithm", "type") if key in fields)
    return f'{key} = "{fields[key].get("const", "ray:NAME")}"'


def _link(name: str) -> str:
    """A table of another section, by the name of its model."""
    for title, _, models in SECTIONS:
        if any(model.__name__ == name for model in models):
            anchor = title.lower().replace(".", "").replace(" ", "-")
            return f"[{title}](#{anchor})"
    return name
