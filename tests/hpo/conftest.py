from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("conformance")

from postgres import Postgres, running_postgres  # noqa: E402
from sqlalchemy import make_url  # noqa: E402

from hpo.store import migrations  # noqa: E402


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    """The name of a database with our tables: a copy is there sooner than a migration."""
    url = postgres.create_database()
    migrations.upgrade(url)
    return str(make_url(url).database)


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """A new database."""
    return postgres.create_database()
