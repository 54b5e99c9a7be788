"""Every error that hpo raises on purpose.

HpoError                      the one base: `except HpoError` catches all of ours
├── InvalidSpecError          a study specification breaks a rule; one Problem a field. Mend it
├── SpecFileError             the file of a specification can't be read or parsed
├── StudyExistsError          a study of that name is there already. Choose another name, or delete the old one
├── StudyNotFoundError        no study of that name
├── TrialNotFoundError        the study has no trial of that number
├── StudyNotDeletableError    the study is still at work
├── StudyStateError           the study is in a state in which that can't be asked of it
├── VersionError              the study has changed since it was read. Read it again
├── InvalidTenantError        a project or a token breaks a rule. Mend it
├── ProjectExistsError        a project of that name is there already. Choose another name
├── ProjectNotFoundError      no project of that name, or none that the token is for
├── ProjectNotEmptyError      the project has studies, or is the default one
├── TokenExistsError          a live token of the project has that name. Choose another, or revoke it first
├── TokenNotFoundError        the project has no token of that id
├── RequestKeyError           an Idempotency-Key that was used for another request
├── InvalidPageError          a page size or a page token that can't be honoured
├── InvalidQueryError         a filter or an order that a list doesn't understand. Mend it
├── LeaseHeldError            another driver is running this study. Retry when its lease has run out
├── LeaseLostError            this driver's lease has run out and another holds it: stop; never retry
├── StudyBusyError            another process answers for this study, or takes it over just now. Retry in a moment
├── TrialLeaseError           the trial isn't this worker's any more: it must leave it, and ask for another
├── InvalidReportError        a worker's report breaks a rule of the study. Mend it
├── StoreError                the database can't be reached or refuses. Retry later
├── TrainableNotFoundError    the name of a trainable leads to no function
├── PlacementError            the cluster can never hold the study's workers. Add nodes, or ask for less
├── SimulationTimeoutError    a study takes longer to simulate than it may. Ask for less
├── ExchangeError             what another tool keeps can't be read, written or said here. Mend what it names
├── ClusterError              Ray can't be started, reached or stopped
│   └── ClusterLostError      what the study's driver had on the cluster is gone. A new driver goes on
└── ServiceError              the hpo service can't be reached, or answered with an error (the client's)

Messages give the value, the rule and the remedy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class HpoError(Exception):
    """Base of all errors that hpo raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule of a specification."""

    pointer: str
    """Where: a JSON pointer (RFC 6901) into the specification, such as `/parameters/lr/low`."""
    detail: str
    """What: the value and the rule that it breaks."""
    hint: str
    """The remedy."""

    def __str__(self) -> str:
        field = self.pointer.strip("/").replace("/", ".") or "the specification"
        return f"{field}: {self.detail}; {self.hint}" if self.hint else f"{field}: {self.detail}"


class InvalidSpecError(HpoError):
    """A study specification breaks one or more rules; nothing was changed."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SpecFileError(HpoError):
    """The file of a specification can't be read or parsed."""


class StudyExistsError(HpoError):
    """A study of that name is there already."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"study {name!r} exists already, and names are unique; "
            f"choose another name (--name), or delete the old study (hpo rm {name})"
        )


class StudyNotFoundError(HpoError):
    """No study of that name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"no study is named {name!r}; `hpo ls` lists the studies")


class TrialNotFoundError(HpoError):
    """The study has no trial of that number."""

    def __init__(self, study: str, number: int) -> None:
        self.study, self.number = study, number
        super().__init__(f"study {study!r} has no trial {number}; `hpo trials {study}` lists its trials")


class StudyNotDeletableError(HpoError):
    """The study is still at work, so its rows are needed."""


class StudyStateError(HpoError):
    """The study's state doesn't allow what was asked; nothing was changed."""


class VersionError(HpoError):
    """The study is of another version than the one that the caller has read; nothing was changed."""

    def __init__(self, name: str, given: int, now: int) -> None:
        super().__init__(
            f"study {name!r} is at version {now}, but the change is for version {given}; read it again and retry"
        )


class InvalidTenantError(HpoError):
    """A project or a token breaks a rule; nothing was changed."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(f"{problem.detail}; {problem.hint}")


class ProjectExistsError(HpoError):
    """A project of that name is there already."""

    def __init__(self, name: str) -> None:
        super().__init__(f"project {name!r} exists already, and names are unique; choose another name")


class ProjectNotFoundError(HpoError):
    """No project of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no project is named {name!r}; `hpo project ls` lists the projects")


class ProjectNotEmptyError(HpoError):
    """The project has studies, or is the default one; nothing was changed."""


class TokenExistsError(HpoError):
    """A live token of the project has that name."""

    def __init__(self, project: str, name: str) -> None:
        super().__init__(
            f"a token of project {project!r} is named {name!r} already, and the history tells tokens by their names; "
            "choose another name, or revoke the old token first (hpo token revoke)"
        )


class TokenNotFoundError(HpoError):
    """The project has no token of that id."""

    def __init__(self, project: str, id: str) -> None:
        super().__init__(f"project {project!r} has no token {id!r}; `hpo token ls` lists its tokens by their ids")


class RequestKeyError(HpoError):
    """The key of a request was used for another one."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"the Idempotency-Key {key!r} was used for another request, and a key stands for one; send a new key"
        )


class InvalidPageError(HpoError):
    """A page size out of range, or a page token that this list did not give."""


class InvalidQueryError(HpoError):
    """What a list was asked for can't be understood, or can't be given; `parameter` is what was asked with."""

    def __init__(self, parameter: str, detail: str, hint: str) -> None:
        self.problem = Problem(f"/query/{parameter}", detail, hint)
        super().__init__(f"{parameter}: {detail}; {hint}")


class LeaseHeldError(HpoError):
    """Another driver holds the study; its holder may be retried once the lease has run out."""


class LeaseLostError(HpoError):
    """The lease has run out or been taken over: its holder must stop and must not retry."""


class StudyBusyError(HpoError):
    """Another process of the service answers for the study, or this one is taking it over; may be retried."""


class TrialLeaseError(HpoError):
    """The trial's lease is not this worker's, or has lapsed: it must leave the trial and must not retry."""


class InvalidReportError(HpoError):
    """A worker's report breaks a rule of the study; nothing was recorded."""


class StoreError(HpoError):
    """The database can't be reached, is of another schema, or refuses; may be retried."""


class TrainableNotFoundError(HpoError):
    """The name of a trainable leads to no function."""


class PlacementError(HpoError):
    """The cluster can never hold the study's workers."""


class SimulationTimeoutError(HpoError):
    """A study takes longer to simulate than it may."""

    def __init__(self, trials: int, steps: int) -> None:
        super().__init__(
            f"{trials:,} trials of up to {steps:,} steps take too long to simulate here; ask for fewer workers at once "
            "or a smaller budget, or run `hpo simulate`, which takes its time"
        )


class ExchangeError(HpoError):
    """What another tool keeps (an Optuna storage, say) can't be read or written, or can't be said here."""


class ClusterError(HpoError):
    """Ray can't be started, reached or stopped."""


class ClusterLostError(ClusterError):
    """What a driver had on the cluster is gone, so it ends; another one can go on with the study."""


class ServiceError(HpoError):
    """The hpo service can't be reached, or answered with an error.

    `status` is the HTTP status, or None where no answer came; `kind` is the problem's, such as study-not-found, if
    one was told; `problems` are the fields at fault; `retry_after` is in how many seconds the service wants to be asked
    again, if it said so.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        kind: str | None = None,
        problems: Iterable[Problem] = (),
        retry_after: float | None = None,
    ) -> None:
        self.status, self.kind, self.retry_after = status, kind, retry_after
        self.problems = tuple(problems)
        super().__init__(message)
