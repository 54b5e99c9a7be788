"""What all studies together are at, at one moment: for the figures by which a service is watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpo.tenancy import DEFAULT_PROJECT
from hpo.trial import StudyState, TrialState, Waiting, WaitReason

ENTERING = ("study.created", "job.submitted")
"""The kinds of the events with which a study comes into a state, beside study.<state>."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStudy:
    """A study that has not ended. Seconds are by the store's clock, and at least 0 where they count from the past."""

    name: str
    state: StudyState
    state_seconds: float
    """Since it came into its state; for a starting one, since its last attempt began."""
    quiet_seconds: float
    """Since its last event."""
    lease_seconds: float | None = None
    """Until its driver's lease runs out, negative once it has; None where no driver has it."""
    project: str = DEFAULT_PROJECT
    priority: int = 0
    job: str | None = None
    """The Ray job of its last driver."""
    share: int | None = None
    """How many trials it may train at once; None where nobody has said so."""
    waiting: Waiting | None = None
    """What it waits for, if it may train nothing."""
    is_asked: bool = False
    """Its workers are the user's own (`engine = "ask"`): it waits for them alone, and needs no driver."""

    @property
    def is_driven(self) -> bool:
        return self.lease_seconds is not None and self.lease_seconds > 0

    @property
    def needs_driver(self) -> bool:
        """Whether it is at work and no driver holds it, as is normal for the seconds that a job takes to start."""
        at_work = self.state in (StudyState.STARTING, StudyState.RUNNING)
        return at_work and not self.is_driven and not self.is_asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """How many studies and trials are in each state, and how those stand that have not ended."""

    studies: Mapping[StudyState, int]
    """Every state has its number."""
    trials: Mapping[TrialState, int]
    """Of all studies, those that have ended too."""
    open: Sequence[OpenStudy]
    """By name."""

    @property
    def queue_seconds(self) -> float:
        """For how long the queued study that has waited longest has waited; 0 where none waits."""
        return max((study.state_seconds for study in self.queued), default=0.0)

    @property
    def queued(self) -> Sequence[OpenStudy]:
        """The studies that wait for a driver."""
        return [study for study in self.open if study.state is StudyState.QUEUED and not study.is_asked]

    @property
    def waiting(self) -> Mapping[WaitReason, int]:
        """How many studies wait for what; every reason has its number."""
        reasons = [study.waiting.reason for study in self.open if study.waiting is not None]
        return {reason: reasons.count(reason) for reason in WaitReason}

    @property
    def undriven(self) -> Sequence[OpenStudy]:
        """The studies that are starting or running without a live lease."""
        return [study for study in self.open if study.needs_driver]

    @property
    def lease_seconds(self) -> float | None:
        """Until the first lease of a study at work runs out, negative once it has; None where there is none."""
        driven = [study for study in self.open if not study.is_asked]
        at_work = [study for study in driven if study.state in (StudyState.STARTING, StudyState.RUNNING)]
        return min((study.lease_seconds for study in at_work if study.lease_seconds is not None), default=None)

    @property
    def quiet_seconds(self) -> float:
        """The longest time that a running study that may train has had no event; 0 where none runs."""
        running = [
            study
            for study in self.open
            if study.state is StudyState.RUNNING and not study.is_asked and study.waiting is None
        ]
        return max((study.quiet_seconds for study in running), default=0.0)
