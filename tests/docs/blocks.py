"""The code blocks of a page, and what it takes to run them: in order, in one folder, as a reader would.

- A block with `title="NAME"` is written to that file. `bash` runs; a `text` block after it is what it prints, in which
  `…` stands for any lines and figures may differ. `python` blocks of a page share their names.
- `toml`, `yaml` and `json` are parsed; what holds keys of a specification must be one, or a part of one.
- `<!-- not run: REASON -->` above a block leaves it at a check of its syntax.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
import yaml
from sybil import Document
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

from api.cli import app
from hpo import specfile
from hpo.spec import StudySpec

_FENCE = RawFencedCodeBlockLexer(re.compile(r"(?P<language>[a-z]*)(?P<options>[^\n]*)\n"))
_TITLE = re.compile(r'title="([^"]+)"')
_NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\s*\Z")
_FIGURES = re.compile(r"\d[\d.,:]*")
_SPEC_KEYS = {field.alias or name for name, field in StudySpec.model_fields.items()}
_BASE: dict[str, Any] = {
    "name": "page",
    "trainable": "train:train",
    "parameters": {"lr": {"type": "float", "low": 0.001, "high": 1.0, "mutable": True}},
    "objective": {"metric": "accuracy", "direction": "maximize"},
    "budget": {"trials": 20},
}


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    language: str
    source: str
    title: str | None
    not_run: str | None
    """Why it isn't, if it isn't."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for region in _FENCE(Document(text, str(page))):
        lexemes = region.lexemes
        title, reason = _TITLE.search(lexemes["options"]), _NOT_RUN.search(text[: region.start])
        yield Block(
            page=page,
            line=text.count("\n", 0, region.start) + 1,
            language=lexemes["language"],
            source=str(lexemes["source"]),
            title=title[1] if title else None,
            not_run=reason[1] if reason else None,
        )


def check(block: Block) -> None:
    """What can be said of a block without running it."""
    match block.language:
        case "bash":
            done = subprocess.run(["bash", "-n"], input=block.source, text=True, capture_output=True)
            assert done.returncode == 0, f"{block}: {done.stderr}"
            assert list(unknown_words(block.source)) == [], f"{block}: hpo has no such command or option"
        case "python":
            compile(block.source, str(block.page), "exec")
        case "toml":
            _check_data(block, tomllib.loads(block.source))
        case "yaml":
            _check_data(block, yaml.safe_load(block.source))
        case "json":
            _check_data(block, json.loads(block.source))
        case "text" | "":
            pass
        case other:
            raise AssertionError(f"{block}: nothing checks a block of {other!r}")


def _check_data(block: Block, data: Any) -> None:
    if isinstance(data, Mapping) and data and data.keys() <= _SPEC_KEYS:
        specfile.parse({**_BASE, **data})


def unknown_words(source: str) -> Iterator[str]:
    """Commands and options of `hpo` in a shell's text that `hpo` doesn't have."""
    for part in re.split(r"&&|\|\||[;|\n]|\$\(", source.replace("\\\n", " ")):
        try:
            words = shlex.split(part.strip(" ()\"'"), comments=True)
        except ValueError:  # half of a quoted text
            continue
        if words[:1] == ["hpo"]:
            yield from _unknown(words[1:])


def _unknown(words: list[str]) -> Iterator[str]:
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while (children := getattr(command, "commands", None)) is not None and rest and not rest[0].startswith("-"):
        if rest[0] not in children:
            yield rest[0]
            return
        command = children[rest.pop(0)]
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help", "-h"}
    yield from (word for word in rest if word.startswith("-") and len(word) > 1 and word.split("=")[0] not in known)


class Reader:
    """Somebody who follows a page in a folder."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder, self.environment = folder, dict(environment)
        self.names: dict[str, Any] = {"__name__": "page"}
        self.printed: str | None = None
        """What the last command has printed."""

    def follow(self, block: Block) -> None:
        check(block)
        if block.not_run:
            self.printed = None
        elif block.title:
            (self.folder / block.title).write_text(block.source, encoding="utf-8")
        elif block.language == "bash":
            self._shell(block)
        elif block.language == "python":
            exec(compile("\n" * block.line + block.source, str(block.page), "exec"), self.names)
        elif block.language in ("text", ""):
            self._compare(block)

    def _shell(self, block: Block) -> None:
        # What is exported, and the folder that one has gone to, hold for the blocks that follow.
        kept = self.folder / ".shell"
        script = (
            f"set -eo pipefail\n[ -f {kept} ] && . {kept}\n{block.source}\nexport -p > {kept}; echo cd $PWD >> {kept}"
        )
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env={**os.environ, **self.environment}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=280,
        )  # fmt: skip
        assert done.returncode == 0, f"{block} ended with {done.returncode}:\n{done.stdout}"
        self.printed = done.stdout

    def _compare(self, block: Block) -> None:
        """Every line was printed, in this order."""
        assert self.printed is not None, f"{block}: no command has printed this; mark it as not run, or drop it"
        lines = iter([_plain(line) for line in self.printed.splitlines()])
        for wanted in map(_plain, block.source.splitlines()):
            if wanted not in ("", "…"):
                assert wanted in lines, f"{block}: {wanted!r} was not printed, or not there:\n{self.printed}"


def _plain(line: str) -> str:
    return _FIGURES.sub("#", " ".join(line.split()))
