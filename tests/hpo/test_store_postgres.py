from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from conformance.store import StoreConformance

from hpo.protocols import Store
from hpo.store import open_store


class TestPostgresStore(StoreConformance):
    @pytest.fixture
    def store(self, postgres_url: str) -> Iterator[Store]:
        with closing(open_store(postgres_url)) as store:
            yield store

    @pytest.fixture
    def peer(self, postgres_url: str, store: Store) -> Iterator[Store]:
        with closing(open_store(postgres_url)) as peer:
            yield peer
