"""What a driver does before it trains: take over from the last one, or learn from past studies."""

from __future__ import annotations

import logging
from dataclasses import replace

from hpo.engine import files
from hpo.engine.files import Address
from hpo.ledger import Ledger
from hpo.protocols import Store
from hpo.replay import Replay, history
from hpo.search.warm_start import teach
from hpo.space import Space
from hpo.spec import StudySpec
from hpo.steering import original
from hpo.trial import Event, Row, Study, TrialState
from hpo.warm_start import past_trials, to_data

log = logging.getLogger(__name__)


def begin_spec(study: Study, store: Store) -> StudySpec:
    """The specification that the study began with: the replay changes it where it was changed."""
    return original(study.spec, store.commands(study.name, done=True))


def pause(ledger: Ledger) -> None:
    """Record that the trials at work wait. The ledger is done with: the next driver's replay knows nothing of it."""
    ending = ledger.orders.ending
    reason = ending.message if ending else ""
    for number, live in ledger.trials.items():
        if not live.is_paused:
            trial = replace(live.trial, state=TrialState.PAUSED)
            ledger.write(
                [trial, ledger.event("trial.paused", number, step=trial.step, reason=f"the study is {reason}")]
            )


def resume(ledger: Ledger, store: Store, storage: Address) -> None:
    """Bring a new ledger to where the study stands; nothing of the study is lost, and no step counts twice.

    Checkpoints that an earlier driver's workers wrote but that were not recorded are removed. Raises StorageError if
    a storage on S3 can't tell what it holds: no row is changed then.
    """
    study = ledger.spec.name
    replay = Replay(ledger)
    replay.run(history(store, study))
    if ledger.spec.warm_start and not replay.is_warm:
        _warm_start(ledger, store)
    if not ledger.next_number:
        return
    removed = sweep(storage, {checkpoint.path for checkpoint in store.checkpoints(study)})
    damaged = _forget_damaged(ledger, storage)
    lost = ledger.requeue()
    data = {"trials": len(ledger.trials), "requeued": lost, "differences": replay.num_differences, "removed": removed}
    rows: list[Row] = [ledger.event("study.resumed", None, **data)]
    if replay.num_differences:
        rows.append(ledger.event("study.diverged", None, count=replay.num_differences, first=replay.differences))
    for number in lost:
        source = ledger.trials[number].source
        step = source.step if source else 0
        rows.append(ledger.event("trial.requeued", number, step=ledger.trials[number].trial.step, from_step=step))
        rows.append(ledger.trials[number].trial)  # it was shown as paused, where the study was
    ledger.write([*damaged, *rows])
    log.info("study %s goes on: %d rows replayed, %d trials queued again", study, replay.num_rows, len(lost))


def _forget_damaged(ledger: Ledger, storage: Address) -> list[Event]:
    """Trials whose checkpoint is gone or cut short go on from their beginning; a line for each."""
    lines = []
    needed = {
        number: {each.path: each for each in (live.last, live.origin, live.best) if each}
        for number, live in ledger.trials.items()
    }
    sizes = files.sizes({path for paths in needed.values() for path in paths}, storage)
    for number, live in ledger.trials.items():
        for checkpoint in needed[number].values():
            size = sizes[checkpoint.path]
            if size == checkpoint.size_bytes:
                continue
            ledger.checkpoints.damaged(live, checkpoint)
            found = "is gone" if size is None else f"has {size} bytes"
            message = f"{checkpoint.path} {found}, but {checkpoint.size_bytes} were written; it is not used any more"
            lines.append(ledger.event("checkpoint.damaged", number, step=checkpoint.step, message=message))
            log.warning("study %s, trial %d: %s", ledger.spec.name, number, message)
    return lines


def _warm_start(ledger: Ledger, store: Store) -> None:
    """Teach the searcher what past studies found, and record it for the replay."""
    trials = past_trials(store, ledger.spec)
    taken = teach(ledger.searcher, Space.of(ledger.spec), trials, num_objectives=len(ledger.spec.objectives))
    ledger.write([ledger.event("study.warm_started", None, taken=taken, trials=[to_data(trial) for trial in trials])])


def sweep(storage: Address, kept: set[str]) -> int:
    """Remove the checkpoints of a study that no row names; how many."""
    return files.sweep(files.open_storage(storage), kept)
