"""Assembles the pages of the site: those of docs/, the reference, and what they link to in the repository."""

from __future__ import annotations

import shutil
from pathlib import Path

from docs.generator import reference, repository

DOCS = repository.ROOT / "docs"


def assemble(folder: Path) -> None:
    """Write all pages, with links that lead to each other, into a folder that is emptied before."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = {path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in written()}
    pages |= reference.pages()
    found: dict[str, str | bytes] = {**pages, **repository.reachable(pages)}
    for name, content in found.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(repository.relinked(content, name), encoding="utf-8")


def written() -> list[Path]:
    """The pages that people have written."""
    return sorted(path for path in DOCS.rglob("*.md") if "site" not in path.relative_to(DOCS).parts)
