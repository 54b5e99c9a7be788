"""The genetic searcher keeps to what every searcher keeps to."""

from __future__ import annotations

from typing import Any, ClassVar

from conformance.searcher import SearcherConformance


class TestGeneticSearcher(SearcherConformance):
    search: ClassVar[dict[str, Any]] = {"algorithm": "genetic"}
