from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("conformance")

from postgres import Postgres, running_postgres  # noqa: E402


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """A new database."""
    return postgres.create_database()
