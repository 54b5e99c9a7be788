"""What a scheduler chose, as the ledger carries it out: a part of it.

All that a choice changes goes into one write.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hpo import records
from hpo.protocols import Choice, Drop, Resume, Start
from hpo.retention import LiveTrial
from hpo.trial import Action, Inheritance, Params, Trial, TrialState

if TYPE_CHECKING:
    from hpo.ledger import Ledger, Leg


class Choices:
    """Begins trials, lets paused ones go on, and drops them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def apply(self, choice: Choice, *, recorded: Inheritance | None = None) -> Leg | None:
        """As `Ledger.apply`."""
        ledger = self._ledger
        match choice:
            case Start():
                return self._start()
            case Resume():
                return self._resume(choice, recorded)
            case Drop():
                ledger.end(ledger.trials[choice.trial], TrialState.STOPPED, [], message=choice.reason, chosen=True)
                return None

    def _start(self) -> Leg | None:
        ledger = self._ledger
        if not ledger.can_start:
            raise RuntimeError(f"scheduler {ledger.spec.scheduler.algorithm} starts a trial that the budget hasn't")
        params = ledger.searcher.suggest(ledger.next_number)
        if params is None:
            ledger.is_exhausted = True
            ledger.write([ledger.event("study.exhausted", None, trials=ledger.next_number)])
            return None
        return self.create(params)

    def create_enqueued(self) -> Leg:
        """The next trial begins, with the configuration that was enqueued first."""
        ledger = self._ledger
        enqueued = ledger.orders.enqueued.popleft()
        ledger.searcher.adopt(ledger.next_number, enqueued.params)
        return self.create(enqueued.params, enqueued=True, retry_of=enqueued.retry_of)

    def create(self, params: Params, **data: object) -> Leg:
        """The next trial begins, with this configuration."""
        ledger = self._ledger
        number = ledger.next_number
        ledger.next_number += 1
        trial = Trial(study=ledger.spec.name, number=number, params=params, created_at=ledger.clock())
        ledger.trials[number] = LiveTrial(trial)
        ledger.scheduler.created(trial)
        ledger.write([trial, ledger.event("trial.created", number, params=dict(params), **data)])
        return ledger.hand_out(number)

    def _resume(self, choice: Resume, recorded: Inheritance | None) -> Leg:
        ledger = self._ledger
        live = ledger.trials[choice.trial]
        live.action = Action.CONTINUE
        donor = ledger.trials[choice.donor] if choice.donor is not None and recorded is None else None
        inheritance = recorded or records.inheritance(choice, live, donor, ledger.clock())
        if inheritance is None:
            live.trial = replace(live.trial, state=TrialState.RUNNING)
            data = {"step": live.trial.step, "reason": choice.reason}
            if choice.donor is not None:
                data |= {"donor": choice.donor, "message": f"trial {choice.donor} has no checkpoint to inherit"}
            ledger.write([live.trial, ledger.event("trial.resumed", choice.trial, **data)])
            return ledger.hand_out(choice.trial)
        ledger.checkpoints.inherited(live, ledger.checkpoints.find(inheritance.path))
        trial = live.trial
        has_other_params = trial.value is not None and trial.best_params != inheritance.params
        live.trial = replace(
            trial,
            state=TrialState.RUNNING,
            params=inheritance.params,
            generation=inheritance.generation,
            parent=inheritance.donor,
            step=inheritance.step,
            value_params=trial.best_params if has_other_params else None,
        )
        event = ledger.event("trial.inherited", choice.trial, **records.inherited(inheritance))
        ledger.write([inheritance, event, live.trial])
        return ledger.hand_out(choice.trial)
