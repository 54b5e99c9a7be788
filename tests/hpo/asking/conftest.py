from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo.store import open_store
from tests.hpo.asking.bench import Bench


@pytest.fixture(params=["memory", "sqlite"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Makes the study `s` with the changes that it is given."""
    store = open_store("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/hpo.db")

    def make(**changes: Any) -> Bench:
        return Bench(store, **changes)

    yield make
    store.close()
