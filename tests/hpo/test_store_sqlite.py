from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conformance.store import StoreConformance

from hpo.protocols import Store
from hpo.store import open_store


class TestSqliteStore(StoreConformance):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/deep/hpo.db"

    @pytest.fixture
    def store(self, url: str) -> Iterator[Store]:
        with closing(open_store(url)) as store:
            yield store

    @pytest.fixture
    def peer(self, url: str, store: Store) -> Iterator[Store]:
        with closing(open_store(url)) as peer:
            yield peer
