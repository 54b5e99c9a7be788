"""What a driver on Ray does before it trains: take over from the last one, and its checkpoints with it."""

from __future__ import annotations

import logging

from hpo.engine import files
from hpo.engine.files import Address
from hpo.ledger import Ledger
from hpo.protocols import Store
from hpo.replay import history
from hpo.tenure import replayed, taken_over
from hpo.trial import Event

log = logging.getLogger(__name__)


def resume(ledger: Ledger, store: Store, storage: Address) -> None:
    """Bring a new ledger to where the study stands; nothing of the study is lost, and no step counts twice.

    Checkpoints that an earlier driver's workers wrote but that were not recorded are removed. Raises StorageError if
    a storage on S3 can't tell what it holds: no row is changed then.
    """
    study = ledger.spec.name
    replay = replayed(ledger, store, history(store, study))
    if not ledger.next_number:
        return
    removed = sweep(storage, {checkpoint.path for checkpoint in store.checkpoints(study)})
    damaged = _forget_damaged(ledger, storage)
    lost = ledger.requeue()
    rows = taken_over(ledger, replay, requeued=lost, removed=removed)
    for number in lost:
        source = ledger.trials[number].source
        step = source.step if source else 0
        rows.append(ledger.event("trial.requeued", number, step=ledger.trials[number].trial.step, from_step=step))
        rows.append(ledger.trials[number].trial)  # it was shown as paused, where the study was
    ledger.write([*damaged, *rows])
    log.info("study %s goes on: %d rows replayed, %d trials queued again", study, replay.num_rows, len(lost))


def _forget_damaged(ledger: Ledger, storage: Address) -> list[Event]:
    """Trials whose last checkpoint is gone or cut short go on from their best one, or else from their beginning; a line
    for each."""
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


def sweep(storage: Address, kept: set[str]) -> int:
    """Remove the checkpoints of a study that no row names; how many."""
    return files.sweep(files.open_storage(storage), kept)
