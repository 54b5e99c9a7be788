"""`python -m hpo.driver STUDY`: claim a study, run it on the cluster at hand, release it.

It is what a Ray job of the service runs. It reads HPO_DATABASE_URL and HPO_STORAGE from its environment (the address
of a database may hold a password, so it is no argument), the keys of a storage on S3 (AWS_*: `hpo.engine.s3`), what a
study may open (`hpo.places`), and HPO_LOG_FORMAT (`hpo.logs`). A study that another driver has left in mid-study goes
on from what is recorded. Exit codes: 0 the study succeeded or is paused, 1 it failed, 2 it
can not be run, 3 another driver holds it, 4 the cluster has lost what it needs (another driver can go on), 130
interrupted.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable

from hpo import logs
from hpo.engine.files import Address, StorageError, address
from hpo.errors import ClusterLostError, HpoError, LeaseHeldError, LeaseLostError, StudyStateError
from hpo.followers import following
from hpo.places import ANYWHERE, Places
from hpo.protocols import Store
from hpo.steering import Command
from hpo.store import open_store
from hpo.tenure import conclusion, end_as_asked
from hpo.trial import Lease, Study, StudyState

log = logging.getLogger("hpo.driver")

LEASE_SECONDS = 30.0


def drive(
    store: Store,
    name: str,
    storage: Address,
    *,
    lease_seconds: float = LEASE_SECONDS,
    interrupted: Callable[[], bool] = lambda: False,
    places: Places = ANYWHERE,
) -> Study:
    """Run study `name` to its end; the study as it is then. One that another driver left in mid-study goes on. One that
    names what is in none of the `places` fails.

    This process must be connected to a Ray cluster. Errors in the study itself (it fails to be placed, all trials
    fail) end in its state and message; raises LeaseHeldError where another driver is at it, and LeaseLostError when
    another has taken over on the way. A study that is paused, or is to pause or end, isn't begun.
    """
    holder = os.environ.get("HPO_JOB") or f"{socket.gethostname()}:{os.getpid()}"
    lease = store.claim(name, holder=holder, lease_seconds=lease_seconds)
    try:
        study = store.study(name)  # what nobody else changes now: a command waits for the lease's holder
        if study.spec.engine == "ask":
            raise StudyStateError(
                f"study {name!r} is trained by workers of your own (engine = 'ask'): it needs no driver"
            )
        if study.state.is_final or study.state is StudyState.PAUSED:
            return study
        study = end_as_asked(store, lease, study)
        if study.state.is_final or study.state is StudyState.PAUSED:
            return study
        study = store.set_study_state(name, StudyState.RUNNING, message="", lease=lease)
        state, why, by = _run(store, lease, study, storage, lease_seconds, interrupted, places)
        _sweep(store, study, storage)
        study = store.set_study_state(name, state, message=why, lease=lease, command=by)
        # What came while it was about to pause; from now on such a command is done as it is given.
        return end_as_asked(store, lease, study)
    finally:
        store.release(lease)


def _sweep(store: Store, study: Study, storage: Address) -> None:
    """Remove the checkpoints that were written, but not recorded: their workers were ended in mid-report."""
    from hpo.engine.resume import sweep

    try:
        sweep(storage / study.name, {checkpoint.path for checkpoint in store.checkpoints(study.name)})
    except StorageError as error:
        log.warning("study %s: checkpoints that no row names stay in %s: %s", study.name, storage, error)


def _run(
    store: Store,
    lease: Lease,
    study: Study,
    storage: Address,
    lease_seconds: float,
    interrupted: Callable[[], bool],
    places: Places,
) -> tuple[StudyState, str | None, Command | None]:
    """Run a claimed study; its next state and why, and the command that it is the effect of."""
    from hpo.engine.run import run_study  # imports ray.tune: a second

    try:
        places.check(study.spec)
        with following(store, study, lease, lease_seconds=lease_seconds):
            outcome = run_study(
                study, store, lease, storage / study.name, lease_seconds=lease_seconds, interrupted=interrupted
            )
    except (LeaseLostError, ClusterLostError):
        raise
    except StorageError as error:  # as when a checkpoint can't be written: nothing is lost, so it waits
        why = f"the checkpoints in {storage / study.name} can't be looked at: {error}; mend that, then resume the study"
        return StudyState.PAUSED, why, None
    except HpoError as error:
        return StudyState.FAILED, str(error), None
    except Exception as error:
        log.exception("study %s has failed", study.name)
        return StudyState.FAILED, f"{type(error).__name__}: {error}", None
    if outcome.taken_over:
        raise LeaseLostError(f"study {study.name!r}: another driver has taken over; this one has stopped")
    if outcome.ending is None and interrupted():
        return StudyState.CANCELLED, outcome.reason, None
    return conclusion(
        has_value=outcome.best is not None, reason=outcome.reason, error=outcome.error, ending=outcome.ending
    )


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m hpo.driver", description="Run one stored study on Ray.")
    parser.add_argument("study", help="the study's name; it must be in the store")
    parser.add_argument(
        "--lease-seconds",
        type=float,
        default=LEASE_SECONDS,
        metavar="S",
        help="how long the study stays this driver's without a sign of life (default: %(default)g)",
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=0.0,
        metavar="S",
        help="wait so long for another driver's lease to run out (default: not at all)",
    )
    options = parser.parse_args(arguments)
    logs.configure(os.environ.get("HPO_LOG_FORMAT", "text"), study=options.study)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        url, storage = os.environ["HPO_DATABASE_URL"], address(os.environ["HPO_STORAGE"])
        places = Places.of(os.environ)
    except KeyError as error:
        print(f"error: {error.args[0]} is not set; the driver needs HPO_DATABASE_URL and HPO_STORAGE", file=sys.stderr)
        return 2
    except (StorageError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    import ray

    try:
        store = open_store(url)
        try:
            ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), log_to_driver=True)
            study = drive_when_free(store, options.study, storage, options.lease_seconds, options.wait, stop, places)
        finally:
            ray.shutdown()
            store.close()
    except LeaseHeldError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    except ClusterLostError as error:
        print(f"error: {error}; another driver can go on", file=sys.stderr)
        return 4
    except HpoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"study {study.name}: {study.state}" + (f" ({study.message})" if study.message else ""))
    if study.state is StudyState.CANCELLED:
        return 130
    return 0 if study.state in (StudyState.SUCCEEDED, StudyState.PAUSED) else 1


def drive_when_free(
    store: Store,
    name: str,
    storage: Address,
    lease_seconds: float,
    wait: float,
    stop: threading.Event,
    places: Places = ANYWHERE,
) -> Study:
    """`drive`, tried again for `wait` seconds while another driver holds the study."""
    give_up = time.monotonic() + wait
    while True:
        try:
            return drive(
                store, name, storage, lease_seconds=lease_seconds, interrupted=stop.is_set, places=places
            )  # fmt: skip
        except LeaseHeldError:
            if time.monotonic() >= give_up or stop.wait(0.2):
                raise


if __name__ == "__main__":
    sys.exit(main())
