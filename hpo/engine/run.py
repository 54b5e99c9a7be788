"""Run one study on the Ray cluster that this process is connected to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ray

from hpo import registry
from hpo.engine import scratch
from hpo.engine.adapters import ScheduleAdapter, SearchAdapter
from hpo.engine.files import Address
from hpo.engine.group import WorkerGroups
from hpo.engine.lease import TrialLease
from hpo.engine.placement import groups_that_fit
from hpo.engine.recorder import Recorder
from hpo.engine.resume import resume
from hpo.engine.tuner import Leases, tune
from hpo.errors import ClusterLostError, HpoError, PlacementError
from hpo.ledger import Ledger
from hpo.orders import Ending
from hpo.protocols import Store
from hpo.spec import RaySchedule, StudySpec
from hpo.tenure import begin_spec, pause
from hpo.trial import Event, Lease, Study, Trial

if TYPE_CHECKING:
    from hpo.engine.ray_scheduler import RayEscape

log = logging.getLogger(__name__)

HASTY_SECONDS = 2.0
"""How long workers may take to leave a study that somebody pauses or ends: then they are ended in mid-step."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a study came to its end."""

    best: Trial | None
    reason: str | None
    """Why it ended before its budget of trials was used, if it did."""
    error: str | None
    """Why it failed, if it did."""
    ending: Ending | None = None
    """By what it was paused or ended, if it was."""
    taken_over: bool = False
    """Another driver holds the lease now: write nothing more."""


def plan_groups(spec: StudySpec, share: int | None = None) -> int:
    """How many worker groups the cluster holds for this study, which may have `share` of them. Raises PlacementError if
    none ever fits."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    at_most = min(spec.concurrency or spec.budget.trials, spec.budget.trials)
    groups = groups_that_fit(spec.resources, nodes, at_most=at_most)
    return groups if share is None else min(groups, share)


def run_study(
    study: Study,
    store: Store,
    lease: Lease,
    storage: Address,
    *,
    lease_seconds: float = 30.0,
    interrupted: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Search until the budget is used, the goal reached, or `interrupted` says so; write all to the store.

    A study that another driver has begun goes on from what is recorded. `storage` is the study's own folder, at the
    same path on all nodes, or its place on S3. Checkpoints go to `trials-<lease token>` there: no two drivers ever
    write to the same place. Raises PlacementError when the cluster can never hold the workers, InvalidSpecError when
    Ray Tune refuses the options of one of its own schedulers, and StorageError when S3 can't tell what it holds.
    """
    groups = plan_groups(study.spec, study.share)
    if isinstance(study.spec.scheduler, RaySchedule):
        groups = max(1, groups)  # its number stays
    spec = begin_spec(study, store)
    escape = _escape(spec)
    with Recorder(store, lease, lease_seconds=lease_seconds) as recorder:
        recorder.share = study.share
        searcher, scheduler = (registry.searcher(spec), escape.seat) if escape else registry.pair(spec)
        ledger = Ledger(
            spec,
            searcher,
            scheduler,
            write=recorder.write,
            drop_checkpoint=recorder.drop,
            started_at=study.started_at,
        )
        if escape:
            escape.join(ledger, recorder.drop)
        resume(ledger, store, storage)
        started = threading.Event()
        if not ledger.is_done:
            with WorkerGroups(spec, groups=groups, storage=storage, run=str(lease.token)) as workers:
                # Beside Tune's own start, which takes seconds too.
                arguments = (spec, workers, ledger, recorder, started)
                threading.Thread(target=_watch_start, args=arguments, name="hpo-start", daemon=True).start()
                _tune(spec, ledger, workers, recorder, started, storage, interrupted, escape)
            if workers.fault and ledger.orders.keeps_trials:
                raise ClusterLostError(str(ledger.progress.error))
        scratch.clear(storage)
        if ledger.orders.is_pausing:
            pause(ledger)
        for number in list(ledger.trials) if not ledger.orders.keeps_trials else []:
            ledger.stop(number)
        if escape:
            escape.leave(ledger)
    progress = ledger.progress
    return Outcome(
        progress.incumbent, progress.finish_reason, progress.error, ledger.orders.ending, taken_over=recorder.lost
    )


def _escape(spec: StudySpec) -> RayEscape | None:
    """For a study under one of Ray Tune's own schedulers."""
    if not isinstance(spec.scheduler, RaySchedule):
        return None
    from hpo.engine.ray_scheduler import RayEscape

    return RayEscape(spec)


def _watch_start(
    spec: StudySpec, workers: WorkerGroups, ledger: Ledger, recorder: Recorder, started: threading.Event
) -> None:
    """Say when the worker groups are ready, or end the study if they can't be."""
    try:
        placed = {"groups": workers.wait_ready(), "workers": spec.resources.workers}
    except ray.exceptions.RayError as error:
        if not workers.is_closed:
            workers.fault = workers.fault or error
    except HpoError as error:
        ledger.progress.error = ledger.progress.error or str(error)
    else:
        started.set()
        recorder.write([Event(study=spec.name, kind="study.placed", data=placed, recorded_at=time.time())])


def _tune(
    spec: StudySpec,
    ledger: Ledger,
    workers: WorkerGroups,
    recorder: Recorder,
    started: threading.Event,
    storage: Address,
    interrupted: Callable[[], bool],
    escape: RayEscape | None,
) -> None:
    progress = ledger.progress
    share = recorder.share

    def poll() -> None:
        nonlocal share
        progress.check_clock(ledger.clock())
        if progress.is_over:
            return
        workers.check()
        if recorder.lost:
            progress.error = "another driver has taken the study over"
        elif recorder.error:
            progress.error = recorder.error
        elif workers.fault:
            ledger.orders.abandon(f"the cluster can't be reached: {workers.fault}")
        elif started.is_set() and (lost := workers.all_lost):
            progress.error = f"no worker group is left: {lost}"
        elif interrupted():
            progress.finish_reason = "the study was interrupted"
        while not progress.is_over and (command := recorder.command()) is not None:
            ledger.orders.obey(command)
        if not escape and recorder.share != share:
            share = recorder.share
            resize()
        if progress.is_over:
            workers.leave_seconds = HASTY_SECONDS if ledger.orders.ending else workers.leave_seconds

    def resize() -> None:
        try:
            groups = plan_groups(ledger.spec, recorder.share)
        except PlacementError:  # a node is away just now: what is there stays
            return
        if groups != workers.size:
            workers.resize(groups)

    def change() -> None:
        resize()
        if (
            ledger.spec.concurrency is not None
        ):  # it is asked for; to keep to a share has time until the next checkpoint
            schedule.preempt(ledger.spec.concurrency)

    if escape:
        search, schedule = escape.adapters(ledger, workers.conductor.cancel, poll, workers.size)
    else:
        search = SearchAdapter(ledger, dict(spec.fixed), lambda: workers.size)
        schedule = ScheduleAdapter(ledger, workers.conductor.cancel, poll, lambda: workers.size)
        ledger.orders.on_stop, ledger.orders.on_change = schedule.leave, change

    def wait(seconds: float) -> None:
        workers.exchange.turn(time.monotonic(), timeout=seconds)

    leases = Leases(workers.conductor, wait, escape.lease if escape else TrialLease)
    tune(search, schedule, leases, scratch.scratch_folder(storage) / "tune" / f"driver-{recorder.lease.token}")
