"""JSON schemas as tables for people: what a field takes, what it must obey, what it is for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]
Link = Callable[[str], str]
"""The name of another schema -> what stands for it on the page."""

_RULES = {
    "minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}",
    "minLength": "≥ {} characters", "maxLength": "≤ {} characters", "minItems": "≥ {} items", "maxItems": "≤ {} items",
    "minProperties": "≥ {} keys", "maxProperties": "≤ {} keys", "pattern": "like `{}`",
}  # fmt: skip

_VALUE = {"number", "integer", "string", "boolean"}


def table(schema: Schema, link: Link) -> str:
    """The fields of an object, a row each."""
    required = schema.get("required", [])
    rows = [
        [f"`{name}`", kind(field, link), default(name, field, required), rules(field), description(field)]
        for name, field in schema.get("properties", {}).items()
    ]
    return markdown_table(["field", "type", "default", "rule", ""], rows)


def kind(field: Schema, link: Link) -> str:
    """The type in words: `list of float`, `"asha"`, or a link."""
    if "$ref" in field:
        return link(field["$ref"].rpartition("/")[2])
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    if "enum" in field:
        return ", ".join(f"`{each}`" for each in field["enum"])
    members = field.get("anyOf") or field.get("oneOf") or field.get("allOf")
    if members:
        if {each.get("type") for each in members} >= _VALUE:  # what a parameter can be
            others = [each for each in members if each.get("type") not in _VALUE]
            return " or ".join(["value", *(kind(each, link) for each in others)])
        return " or ".join(dict.fromkeys(kind(each, link) for each in members if each.get("type") != "null"))
    match field.get("type"):
        case "array":
            return f"list of {kind(field.get('items', {}), link)}"
        case "object":
            values = field.get("additionalProperties")
            return f"table of {kind(values, link)}" if isinstance(values, Mapping) else "table"
        case "integer":
            return "int"
        case "number":
            return "float"
        case "boolean":
            return "bool"
        case "string":
            return "text"
    return "any value"


def default(name: str, field: Schema, required: list[str]) -> str:
    if name in required:
        return "required"
    return f"`{json.dumps(field['default'])}`" if field.get("default") not in (None, [], {}) else "–"


def rules(field: Schema) -> str:
    """The bounds, of the field itself or of a value that isn't null."""
    found = [
        text.format(each[rule])
        for each in (field, *field.get("anyOf", []))
        for rule, text in _RULES.items()
        if rule in each
    ]
    return ", ".join(found)


def description(field: Schema) -> str:
    return " ".join(str(field.get("description", "")).split())


def undescribed(name: str, schema: Schema) -> Iterator[str]:
    """The fields without a description; the word that says which table it is needs none."""
    for field, said in schema.get("properties", {}).items():
        if not description(said) and "const" not in said:
            yield f"{name}.{field}"


def markdown_table(head: list[str], rows: list[list[str]]) -> str:
    """Columns that are empty throughout are left out."""
    kept = [k for k in range(len(head)) if any(row[k] for row in rows)]
    lines = [[head[k] for k in kept], ["---"] * len(kept), *([row[k] for k in kept] for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"
