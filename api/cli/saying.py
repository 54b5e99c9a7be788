"""What commands say in lines, where others have written a part of it."""

from __future__ import annotations

import json
from typing import Any

import typer

from hpo.harmless import harmless


def echo(text: str, *, err: bool = False) -> None:
    typer.echo(harmless(text), err=err)


def print_json(data: Any) -> None:
    echo(json.dumps(data, ensure_ascii=False, indent=2))
