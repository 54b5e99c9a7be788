from __future__ import annotations

import pytest
from conformance.store import StoreConformance

from hpo.protocols import Store
from hpo.store import open_store


class TestMemoryStore(StoreConformance):
    @pytest.fixture
    def store(self) -> Store:
        return open_store("memory://")

    @pytest.fixture
    def peer(self, store: Store) -> Store:
        return store
