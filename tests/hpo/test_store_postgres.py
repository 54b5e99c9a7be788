from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from conformance.store import StoreConformance
from postgres import Postgres

from hpo.protocols import Store
from hpo.store import database, open_store


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


def test_a_connection_that_was_idle_is_tried_before_it_is_used(
    postgres: Postgres, postgres_template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.create_database(postgres_template)
    with closing(open_store(url)) as store, psycopg.connect(url, autocommit=True) as other:
        store.studies()
        monkeypatch.setattr(database, "PING_SECONDS", 0.0)
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert store.studies().items == []
