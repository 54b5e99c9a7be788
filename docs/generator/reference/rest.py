"""The reference of REST, made of the OpenAPI document."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from api.app import create_app
from api.settings import Settings
from docs.generator.reference.schemas import Schema, description, kind, markdown_table, rules, table, undescribed
from docs.generator.reference.specification import SECTIONS
from hpo.store.memory import MemoryStore

_INTRO = """\
# REST

A running service shows the same at `/docs`, to try it, and as OpenAPI at `/openapi.json`. Every request needs
`Authorization: Bearer TOKEN`, but for those under health.

- Times are seconds since the epoch. A number that JSON can't say is one of the texts `NaN`, `Infinity`, `-Infinity`.
- Lists come in pages: `page_token` = `next_page_token` gives the next one; null is the last.
- A POST with an `Idempotency-Key` happens once, however often it is sent.
- Errors are problem documents; [errors](errors.md#over-http) lists the types.
"""
_SPEC_MODELS = {model.__name__ for _, _, models in SECTIONS for model in models}


@cache
def document() -> Mapping[str, Any]:
    with tempfile.TemporaryDirectory(prefix="hpo-docs-") as home:
        return create_app(Settings(home=Path(home)), MemoryStore()).openapi()


def routes() -> Iterator[tuple[str, str, Schema]]:
    """Method, path and operation of every route."""
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            yield method.upper(), path, operation


def page() -> str:
    parts = [_INTRO]
    texts = {tag["name"]: tag["description"] for tag in document()["tags"]}
    tagged: dict[str, list[str]] = {tag: [] for tag in texts}
    for method, path, operation in routes():
        tagged.setdefault(operation.get("tags", ["other"])[0], []).append(_route(method, path, operation))
    for tag, found in tagged.items():
        parts.append(f"## {tag}\n\n{texts.get(tag, '')}\n")
        parts += found
    parts.append("## Bodies\n")
    for name, schema in sorted(_bodies().items()):
        parts.append(f"### {schema['title']} {{#{_anchor(name)}}}\n\n{description(schema)}\n")
        parts.append(table(schema, _link) if "properties" in schema else f"{kind(schema, _link)}\n")
        for example in schema.get("examples", []):
            parts.append(f"```json\n{json.dumps(example, ensure_ascii=False, indent=2)}\n```\n")
    return "\n".join(parts)


def gaps() -> Iterator[str]:
    """Routes, parameters and fields of bodies without a description."""
    for method, path, operation in routes():
        if not operation.get("summary") or not operation.get("description"):
            yield f"{method} {path}"
        for each in operation.get("parameters", []):
            if not each.get("description"):
                yield f"{method} {path} {each['name']}"
    for name, schema in _bodies().items():
        if not description(schema):
            yield name
        yield from undescribed(name, schema)


def _bodies() -> dict[str, Schema]:
    """What is sent and answered, without the specification: that has its own page."""
    schemas: Mapping[str, Schema] = document()["components"]["schemas"]
    return {name: schema for name, schema in schemas.items() if name not in _SPEC_MODELS}


def _route(method: str, path: str, operation: Schema) -> str:
    parts = [f"### {method} {path}\n", f"**{operation['summary']}.** {description(operation)}\n"]
    rows = [
        [f"`{each['name']}`", each["in"], kind(schema, _link), _default(each), rules(schema), description(each)]
        for each in operation.get("parameters", [])
        for schema in [each["schema"]]
    ]
    if rows:
        parts.append(markdown_table(["parameter", "in", "type", "default", "rule", ""], rows))
    if sent := operation.get("requestBody"):
        parts.append(f"Body: {_content(sent['content'])}\n")
    answers = sorted(operation["responses"].items())
    shown = [f"{status} {_content(each.get('content', {}))}" for status, each in answers if not _is_problem(each)]
    parts.append(f"Answers: {'; '.join(shown)}.\n")
    refused = [f"[{status}](errors.md#{status})" for status, each in answers if _is_problem(each)]
    if refused:
        parts.append(f"Problems: {', '.join(refused)}.\n")
    return "\n".join(parts)


def _default(parameter: Schema) -> str:
    if parameter.get("required"):
        return "required"
    value = parameter["schema"].get("default")
    return "–" if value is None else f"`{json.dumps(value)}`"


def _is_problem(answer: Schema) -> bool:
    return "application/problem+json" in answer.get("content", {})


def _content(content: Mapping[str, Schema]) -> str:
    if not content:
        return "nothing"
    return ", or ".join(
        kind(each["schema"], _link) if media == "application/json" else f"`{media}`"
        for media, each in content.items()
        if "schema" in each
    )


def _link(name: str) -> str:
    if name in _SPEC_MODELS:
        return f"[{name}](specification.md)"
    schema: Schema = document()["components"]["schemas"][name]
    if "enum" in schema:
        return kind(schema, _link)
    return f"[{schema['title']}](#{_anchor(name)})"


def _anchor(name: str) -> str:
    return name.lower().replace("_", "-").strip("-")
