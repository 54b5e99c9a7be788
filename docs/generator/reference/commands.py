"""The reference of the command line: what `--help` says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from typer.testing import CliRunner

from api.cli import app

_INTRO = """\
# The command line

What `hpo COMMAND --help` says of every command. They find the service by `HPO_URL` and `HPO_TOKEN`, or on the machine
of `hpo up` by `HPO_HOME` (see [settings](settings.md)).

Exit codes: 0 for success; 1 where what was asked for failed, or a study has not succeeded; 2 where the command, a
specification or a request is wrong; 130 after Ctrl-C.
"""


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its words, in the order of `hpo --help`."""
    yield from _below("", typer.main.get_command(app))


def page() -> str:
    parts = [_INTRO]
    for words, _ in commands():
        shown = CliRunner().invoke(app, [*words.split(), "--help"], prog_name="hpo", env={"COLUMNS": "110"})
        parts.append(f"## hpo {words}\n\n```text\n{shown.output.strip()}\n```\n")
    return "\n".join(parts)


def gaps() -> Iterator[str]:
    """Commands, arguments and options without a help text."""
    for words, command in commands():
        if not command.help:
            yield words
        for each in command.params:
            if not each.help:
                yield f"{words} {each.name}"


def _below(words: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield words, command
        return
    for word, child in children.items():
        if not child.hidden:
            yield from _below(f"{words} {word}".strip(), child)
