"""The seams of the house: who searches, who stops, who remembers, and what a trial may ask for.

Each protocol has one conformance suite under `tests/conformance/` that runs over all of its implementations.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hpo.page import MAX_PAGE_SIZE as MAX_PAGE_SIZE
from hpo.page import NEWEST_FIRST
from hpo.page import Page as Page
from hpo.reading import Reader
from hpo.spec import StudySpec
from hpo.steering import Command, RequestKey, Verb
from hpo.tenancy import DEFAULT_PROJECT, Tenants
from hpo.trial import (
    Decision,
    Lease,
    Measurement,
    Metrics,
    Params,
    Row,
    Study,
    StudyState,
    Trial,
    Waiting,
)


class Searcher(Protocol):
    """Proposes configurations.

    Its state is a function of (seed, the calls so far in their order): two searchers that were built from the
    same specification and got the same calls propose the same. It draws from no global random state.
    """

    def suggest(self, number: int) -> Params | None:
        """The configuration of trial `number` (rising from 0), or None when the space is exhausted.

        Never blocks, and never proposes what the space doesn't contain.
        """

    def adopt(self, number: int, params: Params) -> None:
        """Trial `number` runs a configuration that somebody else chose: learn from it as from one of its own.

        Negative numbers are trials of past studies; their `complete` follows at once.
        """

    def observe(self, measurement: Measurement) -> None:
        """A report of a trial that was suggested or adopted. Reports of one generation come with rising steps."""

    def complete(self, trial: Trial) -> None:
        """A trial came to its end: `trial.state` is final; `trial.value` is None if it never reported.

        Comes exactly once a trial, also for failed ones. `trial.params` may have changed on the way (see
        Inheritance); `trial.best_params` gave `trial.value`.
        """


@dataclass(frozen=True, slots=True)
class Start:
    """Start a new trial."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Let a paused trial go on from its checkpoint; with a `donor`, from the donor's, with `params`."""

    trial: int
    reason: str = ""
    donor: int | None = None
    params: Params | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """End a paused trial: it is stopped."""

    trial: int
    reason: str


Choice = Start | Resume | Drop
"""What a scheduler wants of a free worker group."""


class Scheduler(Protocol):
    """Says for how long a trial runs, and who is next. As the searcher, a function of (seed, the calls so far)."""

    def created(self, trial: Trial) -> None:
        """A new trial starts. Comes once a trial, before its first report."""

    def decide(self, measurement: Measurement) -> Decision:
        """What the trial does after this report; the decision's reason is written for people.

        Reports of one generation come with rising steps, but may skip some. A trial that is told to PAUSE waits
        until `choose` resumes or drops it.
        """

    def choose(self, *, can_start: bool) -> Choice | None:
        """What a free worker group should do; None to wait for a report or an end. `can_start` is whether a new trial
        may start: not when the budget's trials or the space are used up, and then only once the budget is raised.

        Asked whenever a group is free, often with None as the answer, which changes nothing. When no trial is being
        trained and none can start, it resumes or drops the paused ones, so that a study always ends.
        """

    def complete(self, trial: Trial) -> None:
        """A trial came to its end, for whatever reason. Comes exactly once a trial."""


class Store(Tenants, Reader, Protocol):
    """Remembers studies: the truth.

    Safe to use from several threads and several processes. What it returns are snapshots. Lists come in pages
    of at most MAX_PAGE_SIZE (InvalidPageError for another size, or a token that the list did not give). A `filter` is
    written as `hpo.filters` says; an order is a column, with ` asc` or ` desc`, and what has no value comes last
    (InvalidQueryError for others).
    Any method raises StoreError when the database can't be reached. Unknown names raise StudyNotFoundError.
    Projects and tokens are in `hpo.tenancy.Tenants`, what is asked of a study's rows in `hpo.reading.Reader`.
    """

    # -- studies ------------------------------------------------------------------------------------------
    def create_study(
        self,
        spec: StudySpec,
        *,
        project: str = DEFAULT_PROJECT,
        who: str | None = None,
        package: str | None = None,
        queued: bool = True,
        request: RequestKey | None = None,
    ) -> Study:
        """A new queued study of a project, with its event study.created, which says `who` if given. Raises
        ProjectNotFoundError, and StudyExistsError whoever's the other is; then nothing changes.

        With queued=False it is starting: its creator runs it, and no service picks it up. The same request once more
        returns the study as it is now; raises RequestKeyError where its key was used for another. The key of a request,
        here and in `steer`, is the project's own: another project may use the same for something else.
        """

    def study(self, name: str) -> Study: ...

    def studies(
        self,
        *,
        project: str | None = None,
        state: StudyState | None = None,
        filter: str | None = None,
        order_by: str = NEWEST_FIRST,
        page_size: int = 100,
        page_token: str | None = None,
    ) -> Page[Study]:
        """Of a project, or of all. By created_at, started_at, ended_at or name; ties by name, in the same direction."""

    def set_study_state(
        self,
        name: str,
        state: StudyState,
        *,
        message: str | None = None,
        job: str | None = None,
        lease: Lease | None = None,
        command: Command | None = None,
    ) -> Study:
        """Move a study on, with its event study.<state>, and with command.done where that is a command's effect. Sets
        started_at at the first running and ended_at at a final state; `job` and `message` replace the old ones where
        given. A final state stays: then nothing changes, and the study is returned as it is. The same state again
        changes at most message and job, without an event. With a lease, raises LeaseLostError if it is not the
        current one. Trials that a driver has left open pause or stop with their study.
        """

    def new_attempt(self, name: str, *, job_prefix: str) -> Study:
        """Count one more driver attempt and set the study's job to `{job_prefix}-{attempt}`; state becomes
        starting; event job.submitted. Atomic: two callers get two attempts."""

    def allot(self, name: str, *, share: int | None, waiting: Waiting | None = None) -> Study:
        """Say how many trials a study may train at once, and what it waits for; its version stays. Event study.waiting
        where it comes to wait, or waits for a reason of another kind. Changes nothing for a study that is paused or
        has ended: both are None there."""

    def steer(
        self,
        name: str,
        verb: Verb,
        data: Mapping[str, object] | None = None,
        *,
        who: str,
        version: int | None = None,
        request: RequestKey | None = None,
    ) -> Study:
        """Take a command (`hpo.steering`): what a study without a driver needs is done at once, the rest waits for the
        driver. The study as it is then. Nothing changes where the study is already as it is asked to be.

        Raises StudyStateError, InvalidSpecError for a change that breaks a rule, VersionError unless the study is at
        `version`, and RequestKeyError; then nothing changes. The same request once more changes nothing.
        """

    def commands(self, name: str, *, done: bool = False) -> Sequence[Command]:
        """Those that wait for the driver, the oldest first: it says with an event `command.done` that one is done.
        With `done`, all that were ever given."""

    def commanded(self, holder: str) -> Collection[str]:
        """Of the studies whose leases somebody holds, those for which commands may wait: at least all for which some
        do. One question for all of them."""

    def delete_study(self, name: str) -> None:
        """Remove a study that is final, with all its rows, or raise StudyNotDeletableError."""

    # -- leases: one driver a study -----------------------------------------------------------------------
    def claim(self, name: str, *, holder: str, lease_seconds: float) -> Lease:
        """The sole right to write the study's rows. Raises LeaseHeldError while another's lease runs."""

    def renew(self, lease: Lease, *, lease_seconds: float) -> Lease:
        """The same token with a later end. Raises LeaseLostError if another has claimed since."""

    def renew_all(self, held: Sequence[Lease], *, lease_seconds: float) -> Sequence[Lease]:
        """Those of many studies at once, as `renew` does; without those that another has claimed since."""

    def release(self, lease: Lease) -> None:
        """Give the study back; harmless if the lease is lost already."""

    def revoke(self, name: str, *, holder: str) -> bool:
        """End the lease of a holder that is known to be dead, so that another may claim at once; whether there was
        one. If the holder lives after all, its writes are refused from now on."""

    def lead(self, role: str, *, holder: str, lease_seconds: float) -> bool:
        """Take or keep a role that one process at a time has, such as the controller's; whether it is the holder's now.
        `lease_seconds` of 0 gives it back."""

    # -- rows, written by the driver ----------------------------------------------------------------------
    def write(self, lease: Lease, rows: Sequence[Row]) -> None:
        """Write all rows or none, in their order. Raises LeaseLostError if the lease is not the current one.

        A Trial replaces the one of the same number (its created_at stays). A Measurement, Decision, Checkpoint or
        Inheritance whose key (trial, generation, step) is stored already is dropped: each counts once, the first stays.
        Events get their ids here. Rows of another study than the lease's raise ValueError.
        """

    def forget_checkpoints(self, lease: Lease, paths: Sequence[str]) -> None:
        """Drop the rows of checkpoints whose folders were removed. Unknown paths are ignored."""

    # -- upkeep -------------------------------------------------------------------------------------------
    def ping(self) -> None:
        """Raises StoreError unless the database answers and has the schema that this version needs."""

    def close(self) -> None: ...


class TrialContext(Protocol):
    """What a trainable gets beside its parameters. It is the same in one process, without Ray, and on N workers.

    ```python
    def train(params, trial):
        model, start = fresh(params), 0
        if trial.resume:
            start = load(model, trial.resume / "model.pt")
        for step in range(start + 1, trial.max_steps + 1):
            loss = one_epoch(model)
            trial.report(step, {"loss": loss}, checkpoint=lambda folder: save(model, folder / "model.pt"))
    ```
    """

    @property
    def number(self) -> int:
        """The trial's number within the study, from 0."""

    @property
    def seed(self) -> int:
        """For the trial's own randomness: a function of the study's seed and the trial's number."""

    @property
    def max_steps(self) -> int:
        """The last step that the budget gives a trial."""

    @property
    def resume(self) -> Path | None:
        """A checkpoint folder of this trial to go on from."""

    @property
    def inherit(self) -> Path | None:
        """A parent's checkpoint folder to start from."""

    @property
    def rank(self) -> int: ...

    @property
    def world_size(self) -> int: ...

    @property
    def device(self) -> str:
        """`cpu`, or `cuda:0` and the like."""

    @property
    def workdir(self) -> Path:
        """A scratch folder, this worker's own for this trial."""

    def report(self, step: int, metrics: Metrics, checkpoint: Callable[[Path], None] | None = None) -> None:
        """Hand over the metrics of `step` (from 1, rising) and wait for the decision.

        All ranks call it at the same steps; rank 0's metrics count. `checkpoint(folder)` is called on rank 0 only
        and writes its files into an empty folder. Raises TrialStopped, a BaseException, when the trial is over: let
        it pass.
        """


class TrialStopped(BaseException):
    """The trial was stopped, or has had its steps; leave the trainable."""


Trainable = Callable[[Params, TrialContext], None]
