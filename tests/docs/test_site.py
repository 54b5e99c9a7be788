"""The site builds without a warning, leads nowhere outside, and stops at what is broken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

from docs.generator import DOCS, assemble


def _built(pages: Path, site: Path) -> Path:
    build(load_config(str(DOCS / "mkdocs.yml"), docs_dir=str(pages), site_dir=str(site)))
    return site


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "pages"
    assemble(folder)
    return folder


def test_the_site_builds_without_a_warning_and_fetches_nothing(pages: Path, tmp_path: Path):
    site = _built(pages, tmp_path / "site")

    assert (site / "reference" / "specification.html").is_file()
    fetched = re.compile(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"?(?:https?:)?//[^\">]+")
    assert [found[0] for page in site.rglob("*.html") for found in fetched.finditer(page.read_text())] == []


@pytest.mark.parametrize(
    "text",
    ["[a page](missing.md)", "[a place](genetic.md#missing)", "[a file](../missing.py)"],
    ids=["page", "anchor", "file"],
)
def test_a_link_that_leads_nowhere_fails_the_build(text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "index.md").write_text(f"# A page\n\n{text}\n")
    (pages / "genetic.md").write_text("# Another\n")
    with pytest.raises(Abort):
        _built(pages, tmp_path / "site")


def test_links_to_files_of_the_repository_lead_to_copies_of_them(pages: Path):
    assert "](repository/benchmarks/results/chaos.md)" in (pages / "operations.md").read_text()
    assert (pages / "repository/benchmarks/results/chaos.md").is_file()
