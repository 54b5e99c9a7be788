"""What happens in a study, as frozen values: what the store keeps and every room passes on.

Times are seconds since the epoch, UTC. A step is the trainable's own unit (an epoch, say) and counts from 1.
A trial's generation counts the lives of its weights: 0 at first, one more whenever it goes on from other ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hpo.spec import ParamValue, StudySpec
from hpo.tenancy import DEFAULT_PROJECT

Params = Mapping[str, ParamValue]
Metrics = Mapping[str, float]


class StudyState(StrEnum):
    """queued → starting → running ⇄ paused → succeeded | failed | cancelled."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in (StudyState.SUCCEEDED, StudyState.FAILED, StudyState.CANCELLED)


class WaitReason(StrEnum):
    """What a study that could run is waiting for."""

    MAX_STUDIES = "max_studies"
    """Its project runs as many studies as its quota allows."""
    MAX_TRIALS = "max_trials"
    """Its project trains as many trials as its quota allows."""
    MAX_GPUS = "max_gpus"
    """Its project holds as many GPUs as its quota allows."""
    PRIORITY = "priority"
    """Studies of a higher priority in its project use what the project has."""
    SHARE = "share"
    """Others have as good a right to what the cluster has, and came before."""
    ROOM = "room"
    """It is its turn, but trials of others have to end first."""
    TOO_LARGE = "too_large"
    """No trial of it ever fits on the nodes that are there."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a study trains nothing although nobody has paused it."""

    reason: WaitReason
    message: str
    """For people, with the figures."""


class TrialState(StrEnum):
    """pending → running ⇄ paused → completed | stopped (by the scheduler: an answer, no error) | failed."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        return self in (TrialState.COMPLETED, TrialState.STOPPED, TrialState.FAILED)


class FailureCause(StrEnum):
    """Why a trial failed."""

    ERROR = "error"
    OUT_OF_MEMORY = "out_of_memory"
    PREEMPTED = "preempted"
    """Its workers were lost more often than the study's retry rule allows."""
    STORAGE = "storage"
    """Its checkpoint could not be written: the disk is full, say. The study pauses, and the trial doesn't fail."""
    INFEASIBLE = "infeasible"
    NO_METRIC = "no_metric"
    """It reported without the objective's metric, or ended without a report."""
    NON_FINITE = "non_finite"
    """The objective's metric was NaN or infinite."""


class Action(StrEnum):
    """What a trial does after a report."""

    CONTINUE = "continue"
    PAUSE = "pause"
    """It gives its worker group away, and waits until the scheduler lets it go on."""
    STOP = "stop"
    COMPLETE = "complete"
    """It has had all the steps that the budget gives a trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One configuration and what became of it."""

    study: str
    number: int
    """Counts from 0 within the study."""
    params: Params
    state: TrialState = TrialState.PENDING
    generation: int = 0
    parent: int | None = None
    """The trial whose weights this one took over, if any."""
    step: int = 0
    """The last step reported; 0 before the first report."""
    value: float | None = None
    """The objective's metric at the trial's best step so far (best in the objective's direction)."""
    value_step: int | None = None
    """The step of `value`."""
    value_generation: int | None = None
    """The generation of `value`."""
    value_params: Params | None = None
    """The configuration that gave `value`, where it is not `params` any more: the trial took over other weights."""
    cause: FailureCause | None = None
    message: str | None = None
    """Why it was stopped, or how it failed, for people."""
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None

    @property
    def best_params(self) -> Params:
        """The configuration that gave `value`."""
        return self.params if self.value_params is None else self.value_params

    def has_value_at(self, checkpoint: Checkpoint) -> bool:
        """Whether `value` is that of this checkpoint of the trial's."""
        return (checkpoint.generation, checkpoint.step) == (self.value_generation, self.value_step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a trial reported at one step. Counted once: (study, trial, generation, step) is its key."""

    study: str
    trial: int
    generation: int = 0
    step: int
    metrics: Metrics
    recorded_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the scheduler answered to one measurement, and why. One a measurement."""

    study: str
    trial: int
    generation: int = 0
    step: int
    action: Action
    reason: str = ""
    """For people: `rung 2: 61.2 is worse than the cutoff 58.4 (7 trials seen)`."""
    rung: int | None = None
    """The rung's step, where the report fell on a rung."""
    cutoff: float | None = None
    """What the rung demanded of the metric."""
    recorded_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A folder that a trial can go on from."""

    study: str
    trial: int
    generation: int = 0
    step: int
    path: str
    size_bytes: int
    recorded_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Inheritance:
    """A trial went on from another's weights: an edge of the family tree.

    (study, trial, generation, step) is its key.
    """

    study: str
    trial: int
    generation: int
    """The one that began with it."""
    donor: int
    donor_generation: int
    step: int
    """The step of the donor's checkpoint: the trial's next report is of a later one."""
    params: Params
    """The trial's configuration from here on."""
    path: str
    """The donor's checkpoint."""
    reason: str = ""
    """For people."""
    recorded_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A line of a study's history, in the order of `id` (rising, unique within its study; 0 until it is stored).

    `hpo.events` lists the kinds.
    """

    study: str
    kind: str
    trial: int | None = None
    data: Mapping[str, object] = field(default_factory=dict)
    """JSON values only."""
    recorded_at: float
    id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A specification and where its search stands."""

    name: str
    """Unique among the studies of all projects."""
    spec: StudySpec
    project: str = DEFAULT_PROJECT
    state: StudyState = StudyState.QUEUED
    message: str | None = None
    """Why it failed, for people."""
    package: str | None = None
    """`sha256:…` of the uploaded working directory that holds the trainable, if any."""
    attempt: int = 0
    """How many drivers were started for it."""
    job: str | None = None
    """The Ray job that runs it, if any."""
    version: int = 1
    """One more with every change; the ETag."""
    share: int | None = None
    """How many trials it may train at once for the time being, as others want theirs; None where nobody said so."""
    waiting: Waiting | None = None
    """What it waits for, where it could run and may train nothing."""
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyCounts:
    """How many trials of a study are in each state, and what it has spent."""

    trials: Mapping[TrialState, int]
    steps: int
    """Measurements recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to write a study's rows, until `expires_at`. `token` rises with every claim, so that the writes
    of a driver whose lease was taken over are refused (fencing)."""

    study: str
    holder: str
    token: int
    expires_at: float


Row = Trial | Measurement | Decision | Checkpoint | Inheritance | Event
"""What a driver writes."""


def trial_seed(seed: int, number: int) -> int:
    """The seed of a trial's own randomness, in [0, 2^63): a function of the study's seed and the trial's number."""
    digest = hashlib.sha256(f"{seed}:{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
