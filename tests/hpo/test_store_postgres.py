from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from conformance.store import StoreConformance
from postgres import Postgres

from hpo.protocols import Store
from hpo.store import open_store


class TestPostgresStore(StoreConformance):
    @pytest.fixture
    def url(self, postgres: Postgres, postgres_template: str) -> str:
        return postgres.create_database(postgres_template)

    @pytest.fixture
    def store(self, url: str) -> Iterator[Store]:
        with closing(open_store(url)) as store:
            yield store

    @pytest.fixture
    def peer(self, url: str, store: Store) -> Iterator[Store]:
        with closing(open_store(url)) as peer:
            yield peer
