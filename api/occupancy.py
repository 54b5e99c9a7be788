"""Who holds how much of the cluster: asked of Ray and of the store at most once a second, by whoever comes first."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from api.schemas.cluster import AmountAnswer, ClusterAnswer, NodesAnswer, ProjectUseAnswer, StudyUseAnswer
from api.schemas.service import Part
from api.schemas.studies import WaitingAnswer
from api.shares import STARTED, Capacity
from hpo.census import Census, OpenStudy
from hpo.errors import ClusterError
from hpo.page import Page
from hpo.protocols import Store
from hpo.room import UNITS, Amount, Node, amount
from hpo.tenancy import Project
from hpo.trial import StudyState

FRESH_SECONDS = 1.0
"""How old an answer may be."""
NONE: Amount = (0, 0)


class Cluster(Capacity, Protocol):
    """The part of `cluster.jobs.Jobs` that is asked here. Raises ClusterError."""

    address: str

    def ping(self) -> str: ...

    def placed(self) -> dict[str, dict[str, float]]: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """The cluster and the store at about one moment."""

    ray: Part
    nodes: Sequence[Node]
    held: Mapping[str, float]
    placed: Mapping[str, Amount]
    """What the worker groups of a job hold, by its id."""
    census: Census

    @property
    def studies(self) -> Sequence[OpenStudy]:
        """Those that take part in the division of the cluster, by name."""
        return [each for each in self.census.open if each.state is not StudyState.PAUSED and not each.is_asked]

    def of(self, study: OpenStudy) -> Amount:
        return self.placed.get(study.job, NONE) if study.job is not None else NONE


class Occupancy:
    """Thread-safe."""

    def __init__(self, store: Store, connect: Callable[[], Cluster] | None) -> None:
        """`connect` gives the cluster as it is now, or raises ClusterError; None where the service has none."""
        self._store, self._connect = store, connect
        self._lock = threading.Lock()
        self._seen: Seen | None = None
        self._asked_at = float("-inf")

    def look(self) -> Seen:
        """What there is. Raises StoreError."""
        # A cluster that doesn't answer keeps one thread waiting, not all that serve: the others get what was seen last.
        if not self._lock.acquire(blocking=self._seen is None):
            assert self._seen is not None
            return self._seen
        try:
            if self._seen is None or time.monotonic() - self._asked_at >= FRESH_SECONDS:
                self._seen = self._look()
                self._asked_at = time.monotonic()
            return self._seen
        finally:
            self._lock.release()

    def _look(self) -> Seen:
        census = self._store.census()
        if self._connect is None:
            return _without("this service has no controller, so it knows no cluster", census)
        try:
            cluster = self._connect()
            version = cluster.ping()
            placed = {job: amount(of.get("CPU", 0), of.get("GPU", 0)) for job, of in cluster.placed().items()}
            ray = Part(ok=True, detail=f"Ray {version} at {cluster.address}")
            return Seen(ray, cluster.nodes(), cluster.held(), placed, census)
        except ClusterError as error:
            return _without(str(error), census)


def _without(fault: str, census: Census) -> Seen:
    return Seen(Part(ok=False, detail=fault), (), {}, {}, census)


def answer(seen: Seen, projects: Sequence[Project], page: Page[OpenStudy]) -> ClusterAnswer:
    """What may be said of it to whom these projects are shown."""
    sizes = Counter(amount(node.get("CPU", 0), node.get("GPU", 0)) for node in seen.nodes)
    total = _sum(size for size, count in sizes.items() for _ in range(count))
    held = amount(seen.held.get("CPU", 0), seen.held.get("GPU", 0)) if seen.held else None
    return ClusterAnswer(
        ray=seen.ray,
        nodes=[NodesAnswer(**_shown(size), count=sizes[size]) for size in sorted(sizes, reverse=True)],
        total=AmountAnswer(**_shown(total)),
        held=None if held is None else AmountAnswer(**_shown(held)),
        projects=_projects(seen, projects),
        waiting=dict(seen.census.waiting),
        items=[_study(seen, study) for study in page.items],
        next_page_token=page.next_page_token,
    )


def _projects(seen: Seen, projects: Sequence[Project]) -> list[ProjectUseAnswer]:
    names = {project.name for project in projects}
    found = [
        _use(seen, [study for study in seen.studies if study.project == project.name], project) for project in projects
    ]
    others = [study for study in seen.studies if study.project not in names]
    # What no study of ours holds is a program's that we know nothing of, or an `hpo run`'s.
    known = {study.job for study in seen.studies if study.project in names}
    rest = _sum(each for job, each in seen.placed.items() if job not in known)
    return [*found, _use(seen, others, None, rest)]


def _use(
    seen: Seen, studies: Sequence[OpenStudy], project: Project | None, held: Amount | None = None
) -> ProjectUseAnswer:
    return ProjectUseAnswer(
        **_shown(_sum(map(seen.of, studies)) if held is None else held),
        project=None if project is None else project.name,
        weight=None if project is None else project.weight,
        studies=sum(study.state in STARTED for study in studies),
        waiting=sum(study.waiting is not None for study in studies),
    )


def _study(seen: Seen, study: OpenStudy) -> StudyUseAnswer:
    return StudyUseAnswer(
        **_shown(seen.of(study)),
        study=study.name,
        project=study.project,
        state=study.state,
        priority=study.priority,
        share=study.share,
        waiting=WaitingAnswer.model_validate(study.waiting) if study.waiting is not None else None,
    )


def _sum(amounts: Iterable[Amount]) -> Amount:
    cpus = gpus = 0
    for each in amounts:
        cpus, gpus = cpus + each[0], gpus + each[1]
    return cpus, gpus


def _shown(each: Amount) -> dict[str, float]:
    return {"cpus": each[0] / UNITS, "gpus": each[1] / UNITS}
