"""What each study may have, by `hpo.fairness`: read from the store and the cluster, written where it has changed."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

from hpo import fairness
from hpo.errors import ClusterError, StudyNotFoundError
from hpo.fairness import Allotment, Claim, Tenant
from hpo.protocols import Store
from hpo.spec import RaySchedule
from hpo.trial import Study, StudyState

log = logging.getLogger("api.shares")

PERIOD_SECONDS = 1.0
"""How often the cluster and the quotas are looked at. Studies that come and go count at once."""
STARTED = (StudyState.STARTING, StudyState.RUNNING)


class Capacity(Protocol):
    """The part of a cluster (`cluster.jobs.Jobs`) that says what there is. Raises ClusterError."""

    def nodes(self) -> list[dict[str, float]]: ...

    def held(self) -> dict[str, float]: ...


class Shares:
    """Divides the cluster between the studies that are queued, starting or running. It remembers only what it has asked
    a moment ago; the shares are in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asked_at = float("-inf")
        self._nodes: Sequence[Mapping[str, float]] = ()
        self._held: Mapping[str, float] = {}
        self._tenants: Sequence[Tenant] = ()
        self._ended: dict[str, int] = {}
        self._seen: object = None
        self._found: dict[str, Allotment] = {}

    def starting(self, studies: Sequence[Study], cluster: Capacity) -> Collection[str]:
        """The names of the queued ones that are to get a driver now. What has changed for any is written first."""
        if not studies:
            return ()
        self._look(studies, cluster)
        if not self._nodes:  # nobody has said yet what there is
            return ()
        claims = [self._claim(study) for study in studies]
        seen = (claims, self._nodes, self._held, self._tenants)
        if seen != self._seen:
            self._found = fairness.divide(self._nodes, self._tenants, claims, held=self._held)
            self._seen = seen
        for study in studies:
            found = self._found[study.name]
            if (study.share, study.waiting) != (found.share, found.waiting):
                self._write(study, found)
        return {study.name for study in studies if self._found[study.name].starts}

    def _look(self, studies: Sequence[Study], cluster: Capacity) -> None:
        now = time.monotonic()
        if now - self._asked_at < PERIOD_SECONDS:
            return
        try:
            self._nodes, self._held = cluster.nodes(), cluster.held()
        except ClusterError as error:  # what was there a moment ago is the best guess
            log.warning("the cluster doesn't say what it has: %s", error)
        self._tenants = list(self._projects())
        self._ended = {study.name: self._num_ended(study) for study in studies if study.attempt or study.started_at}
        self._asked_at = now

    def _projects(self) -> Iterator[Tenant]:
        token: str | None = None
        while True:
            page = self._store.projects(page_size=100, page_token=token)
            yield from (Tenant(name=each.name, quotas=each.quotas, weight=each.weight) for each in page.items)
            token = page.next_page_token
            if token is None:
                return

    def _num_ended(self, study: Study) -> int:
        try:
            trials = self._store.counts(study.name).trials
        except StudyNotFoundError:  # deleted a moment ago
            return 0
        return sum(number for state, number in trials.items() if state.is_final)

    def _claim(self, study: Study) -> Claim:
        spec = study.spec
        wanted = fairness.most_groups(spec.concurrency, spec.budget.trials, self._ended.get(study.name, 0))
        is_started = study.state in STARTED
        fixed = None
        if is_started and isinstance(spec.scheduler, RaySchedule):  # Ray Tune's own can't change on the way
            fixed = wanted if study.share is None else study.share
        return Claim(
            study=study.name, project=study.project, resources=spec.resources, wanted=wanted, priority=spec.priority,
            submitted_at=study.created_at, is_started=is_started, fixed=fixed,
        )  # fmt: skip

    def _write(self, study: Study, found: Allotment) -> None:
        try:
            self._store.allot(study.name, share=found.share, waiting=found.waiting)
        except StudyNotFoundError:
            return
        if found.waiting is not None and (study.waiting is None or study.waiting.reason is not found.waiting.reason):
            log.info("study %s waits (%s): %s", study.name, found.waiting.reason, found.waiting.message)
