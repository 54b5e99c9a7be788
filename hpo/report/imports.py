"""A finished study made of trials that were run elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hpo.errors import Problem
from hpo.protocols import Store
from hpo.space import Space
from hpo.spec import StudySpec
from hpo.steering import RequestKey
from hpo.tenancy import DEFAULT_PROJECT
from hpo.trial import Event, FailureCause, Measurement, Row, Study, StudyState, Trial, TrialState

MAX_TRIALS = 10_000
"""A warm start learns from a tenth of that."""
LEASE_SECONDS = 60.0


def check(spec: StudySpec, trials: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """What is wrong with the trials of an import, with pointers into them. Each has the fields of
    `api.bodies.TrialImport`."""
    space, seen = Space.of(spec), set()
    metrics = {objective.metric for objective in spec.objectives}
    for place, trial in enumerate(trials):
        at = f"/{place}"
        if trial["number"] in seen:
            yield Problem(f"{at}/number", f"{trial['number']} stands twice; numbers are distinct", "drop one")
        seen.add(trial["number"])
        if not space.contains(trial["params"]):
            yield Problem(
                f"{at}/params", f"{dict(trial['params'])} is no configuration of spec.parameters",
                "give every active parameter a value of its range and type, and no other one",
            )  # fmt: skip
        reported: dict[Any, Mapping[str, Any]] = {each["step"]: each["metrics"] for each in trial["measurements"]}
        if len(reported) < len(trial["measurements"]):
            yield Problem(f"{at}/measurements", "a step stands twice; a trial reports each once", "drop one")
        value, step = trial["value"], trial["value_step"]
        if (value is None) is not (step is None):
            yield Problem(f"{at}/value_step", "value and value_step come together", "give both or neither")
        elif value is not None and reported.get(step, {}).get(spec.objective.metric) != value:
            yield Problem(
                f"{at}/value", f"{value} is not what the measurement of step {step} says of {spec.objective.metric}",
                "the value is that of the trial's best step; report it there",
            )  # fmt: skip
        if trial["state"] == "completed" and (value is None or not metrics <= reported.get(step, {}).keys()):
            yield Problem(
                f"{at}/measurements", f"a completed trial has reported {', '.join(sorted(metrics))} at its value_step",
                "add what is missing, or call the trial stopped",
            )  # fmt: skip


def import_study(
    store: Store,
    spec: StudySpec,
    trials: Sequence[Mapping[str, Any]],
    *,
    source: str,
    project: str = DEFAULT_PROJECT,
    who: str | None = None,
    request: RequestKey | None = None,
) -> Study:
    """Make the study out of trials that `check` finds nothing wrong with, with a history as if they had run here. The
    same request again finishes what the first one has begun. Raises StudyExistsError; then nothing changes."""
    study = store.create_study(spec, project=project, who=who, queued=False, request=request)
    if study.state.is_final:
        return study
    lease = store.claim(spec.name, holder=f"import of {spec.name}", lease_seconds=LEASE_SECONDS)
    try:
        if not store.trials(spec.name, page_size=1).items:
            rows = [row for trial in trials for row in _rows(spec, trial, study.created_at)]
            store.write(lease, rows)  # all or none
        return store.set_study_state(spec.name, StudyState.SUCCEEDED, message=f"imported from {source}", lease=lease)
    finally:
        store.release(lease)


def _rows(spec: StudySpec, given: Mapping[str, Any], now: float) -> Iterator[Row]:
    """A trial in the order in which a driver would have written it."""
    number, params, value = given["number"], dict(given["params"]), given["value"]
    state = TrialState(given["state"])
    started = now if given["started_at"] is None else given["started_at"]
    ended = started if given["ended_at"] is None else given["ended_at"]
    step = max((report["step"] for report in given["measurements"]), default=0)
    trial = Trial(
        study=spec.name, number=number, params=params, state=state, step=step,
        value=value, value_step=given["value_step"], value_generation=None if value is None else 0,
        cause=FailureCause.ERROR if state is TrialState.FAILED else None,
        message=given["message"], created_at=started, started_at=started, ended_at=ended,
    )  # fmt: skip
    yield trial
    yield Event(
        study=spec.name, kind="trial.created", trial=number, data={"params": params},
        recorded_at=started,
    )  # fmt: skip
    for report in sorted(given["measurements"], key=lambda each: each["step"]):
        yield Measurement(
            study=spec.name, trial=number, step=report["step"],
            metrics={name: float(each) for name, each in report["metrics"].items()}, recorded_at=ended,
        )  # fmt: skip
    data: dict[str, Any] = {"step": step, "best": trial.value}
    if trial.message:
        data["message"] = trial.message
    if trial.cause is not None:
        data["cause"] = trial.cause.value
    yield Event(study=spec.name, kind=f"trial.{trial.state}", trial=number, data=data, recorded_at=ended)
