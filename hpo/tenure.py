"""How a driver takes a study over and how it leaves it, whoever trains: a Ray cluster or workers of the user's own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hpo.ledger import Ledger
from hpo.orders import Ending
from hpo.protocols import Store
from hpo.replay import Replay
from hpo.search.warm_start import teach
from hpo.space import Space
from hpo.spec import StudySpec
from hpo.steering import ENDINGS, Command, end_state, original
from hpo.trial import Lease, Row, Study, StudyState, TrialState
from hpo.warm_start import past_trials, to_data


def begin_spec(study: Study, store: Store) -> StudySpec:
    """The specification that the study began with: the replay changes it where it was changed."""
    return original(study.spec, store.commands(study.name, done=True))


def replayed(ledger: Ledger, store: Store, rows: Iterable[Row]) -> Replay:
    """Bring a new ledger to where the study's `rows` left the old one. A new study learns from past ones, if it may."""
    replay = Replay(ledger)
    replay.run(rows)
    if ledger.spec.warm_start and not replay.is_warm:
        trials = past_trials(store, ledger.spec, store.project_of(ledger.spec.name))
        taken = teach(ledger.searcher, Space.of(ledger.spec), trials, num_objectives=len(ledger.spec.objectives))
        past = [to_data(trial) for trial in trials]
        ledger.write([ledger.event("study.warm_started", None, taken=taken, trials=past)])  # for the next replay
    return replay


def taken_over(ledger: Ledger, replay: Replay, **data: object) -> list[Row]:
    """The lines that say that another driver goes on, and what it decides otherwise than the last one."""
    found = {"trials": len(ledger.trials), **data, "differences": replay.num_differences}
    rows: list[Row] = [ledger.event("study.resumed", None, **found)]
    if replay.num_differences:
        rows.append(ledger.event("study.diverged", None, count=replay.num_differences, first=replay.differences))
    return rows


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


def conclusion(
    *, has_value: bool, reason: str | None, error: str | None, ending: Ending | None
) -> tuple[StudyState, str | None, Command | None]:
    """A study's next state and why, and the command that it is the effect of.

    `reason` is why it ended early, if it did; `error` why it failed, if it did; `has_value` whether any trial has
    reported the objective.
    """
    if ending is not None:
        return end_state(ending.verb, has_value=has_value), ending.message, ending.command
    if error or not has_value:
        return StudyState.FAILED, error or "no trial has reported the objective", None
    return StudyState.SUCCEEDED, reason, None


def end_as_asked(store: Store, lease: Lease, study: Study) -> Study:
    """Pause or end a study that nothing of is being trained, if that is what waits."""
    for command in store.commands(study.name):
        if command.verb in ENDINGS and not study.state.is_final:
            best = store.trials(study.name, order_by="value", page_size=1).items
            state = end_state(command.verb, has_value=bool(best) and best[0].value is not None)
            message = f"{command.verb} was asked for by {command.who}"
            study = store.set_study_state(study.name, state, message=message, lease=lease, command=command)
    return study
