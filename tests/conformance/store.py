"""What every Store does: one test a sentence of `hpo.protocols.Store`."""

from __future__ import annotations

import pytest
from conformance.store_census import CensusConformance
from conformance.store_events import EventConformance
from conformance.store_history import HistoryConformance
from conformance.store_lists import ListConformance
from conformance.store_outlines import OutlineConformance
from conformance.store_requests import RequestConformance
from conformance.store_rows import RowConformance
from conformance.store_series import SeriesConformance
from conformance.store_shares import ShareConformance
from conformance.store_steering import SteeringConformance
from conformance.store_steering_changes import SteeringChangesConformance
from conformance.store_studies import StudyConformance
from conformance.store_tenants import TenantConformance
from conformance.store_values import spec

from hpo.protocols import Store
from hpo.trial import Lease


class StoreConformance(
    StudyConformance, RowConformance, HistoryConformance, EventConformance, CensusConformance, SteeringConformance,
    SteeringChangesConformance, RequestConformance, ListConformance, SeriesConformance, OutlineConformance,
    TenantConformance, ShareConformance,
):  # fmt: skip
    """Subclasses give `store`, and `peer`: another store on the same database, as in another process."""

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    @pytest.fixture
    def peer(self, store: Store) -> Store:
        raise NotImplementedError

    @pytest.fixture
    def lease(self, store: Store) -> Lease:
        """The lease of the new study `s`."""
        store.create_study(spec())
        return store.claim("s", holder="driver-1", lease_seconds=60)
