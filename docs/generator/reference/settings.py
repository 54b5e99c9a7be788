"""The reference of the settings, made of `api.settings`."""

from __future__ import annotations

from collections.abc import Iterator

from api.settings import S3_VARIABLES, Settings
from docs.generator.reference.schemas import Schema, description, kind, markdown_table, rules

_INTRO = """\
# Settings

Environment variables, read once when a command or the service starts. One that isn't set has its default.

"""


def page() -> str:
    rows = [
        [f"`HPO_{name.upper()}`", kind(field, str), _default(field), rules(field), description(field)]
        for name, field in _fields()
    ]
    names = ", ".join(f"`{name}`" for name in S3_VARIABLES)
    return (
        _INTRO
        + markdown_table(["variable", "type", "default", "rule", ""], rows)
        + f"\nWhere `HPO_STORAGE` is on S3, jobs get these from the service as well: {names}.\n"
        "\nClients need `HPO_URL` and `HPO_TOKEN` only, and `HPO_TLS_CA` for an authority of your own; or `HPO_HOME` "
        "on the machine of `hpo up`.\n"
    )


def gaps() -> Iterator[str]:
    for name, field in _fields():
        if not field.get("description"):
            yield f"Settings.{name}"


def _default(field: Schema) -> str:
    """What is worked out from other settings is in the description."""
    return "–" if field.get("default") in (None, "", ".") else f"`{field['default']}`"


def _fields() -> Iterator[tuple[str, Schema]]:
    yield from Settings.model_json_schema()["properties"].items()
