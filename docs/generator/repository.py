"""Links to other files of the repository: on a forge they lead to the files, in the site to copies of them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "repository/"
"""Where the copies lie in the site."""
LANGUAGES = {".py": "python", ".toml": "toml", ".yml": "yaml", ".yaml": "yaml", ".json": "json", ".sh": "bash"}
IMAGES = (".svg", ".png")
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
_FENCE = re.compile(r"^ *(```|~~~).*?^ *\1", re.MULTILINE | re.DOTALL)


def reachable(pages: Mapping[str, str]) -> dict[str, str | bytes]:
    """Copies of the files that the pages link to, and of what these link to in turn: site path -> content."""
    found: dict[str, str | bytes] = {}
    waiting = [target for page, text in pages.items() for target in _targets(text, page)]
    while waiting:
        target = waiting.pop()
        path, place = ROOT / target, _site_path(target)
        if place in found or not place.startswith(FOLDER) or not path.is_file():
            continue
        if path.suffix in IMAGES:
            found[place] = path.read_bytes()
            continue
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".md":
            waiting += _targets(text, place)
            found[place] = text
        else:
            found[place] = f"# {target}\n\n```{LANGUAGES.get(path.suffix, 'text')}\n{text.rstrip()}\n```\n"
    return found


def relinked(text: str, page: str) -> str:
    """The text with its links to files turned to where these are in the site. What leads nowhere stays, and fails the
    build."""

    def turned(link: re.Match[str]) -> str:
        target = _target(link[1], page)
        if not (ROOT / target).is_file():
            return link[0]
        return posixpath.relpath(_site_path(target), posixpath.dirname(page) or ".") + (link[2] or "")

    parts, end = [], 0
    for fence in _FENCE.finditer(text):
        parts += [_LINK.sub(turned, text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, _LINK.sub(turned, text[end:])])


def _targets(text: str, page: str) -> Iterator[str]:
    for link in _LINK.finditer(_FENCE.sub("", text)):
        yield _target(link[1], page)


def _target(link: str, page: str) -> str:
    """Where in the repository a link on a page of the site leads."""
    here = page.removeprefix(FOLDER) if page.startswith(FOLDER) else f"docs/{page}"
    return posixpath.normpath(posixpath.join(posixpath.dirname(here), link))


def _site_path(target: str) -> str:
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    return f"{FOLDER}{target}" if target.endswith((".md", *IMAGES)) else f"{FOLDER}{target}.md"
