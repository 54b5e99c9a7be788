"""Between the values of `hpo.trial` and the plain columns that both stores keep.

Whatever goes in comes out the same, with three exceptions that keep every row writable and readable everywhere:
a trial's value or a cutoff that isn't finite becomes None, a non-finite number inside an event's data becomes the
string "NaN", "Infinity" or "-Infinity" (JSON has no such numbers), and characters that no database takes (NUL, lone
surrogates) become U+FFFD in texts for people. Non-finite metrics come back as they were.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import index
from typing import Any, Protocol

from hpo.spec import StudySpec
from hpo.specfile import parse, to_data
from hpo.trial import (
    Action,
    Checkpoint,
    Decision,
    Event,
    FailureCause,
    Inheritance,
    Measurement,
    Metrics,
    Params,
    Row,
    Study,
    StudyState,
    Trial,
    TrialState,
    Waiting,
    WaitReason,
)


class Values(Protocol):
    """A row's columns, in whatever mapping a store has them."""

    def __getitem__(self, column: str, /) -> Any: ...


MAX_INT = 2**63 - 1
_PLAIN = frozenset({str, int, bool, type(None)})
_KEY = ("trial", "generation", "step")
_INTEGERS: dict[type, tuple[str, ...]] = {
    Trial: ("number", "generation", "parent", "step", "value_step", "value_generation"),
    Measurement: _KEY,
    Decision: (*_KEY, "rung"),
    Checkpoint: (*_KEY, "size_bytes"),
    Inheritance: (*_KEY, "donor", "donor_generation"),
    Event: ("trial",),
}


def fits(number: int) -> bool:
    """Whether a database can keep (or look for) this integer."""
    return -MAX_INT - 1 <= number <= MAX_INT


def encode(row: Row) -> dict[str, Any]:
    """The columns of a row; the id of an event is left out, since the store gives it.

    Raises TypeError for what is no row, or holds what is no JSON, and ValueError for an integer beyond 64 bits.
    """
    match row:
        case Trial():
            values = _trial_values(row)
        case Measurement():
            values = _key(row) | {"metrics": _metrics_text(row.metrics)}
        case Decision():
            values = _key(row) | {
                "action": Action(row.action).value,
                "reason": clean(row.reason),
                "rung": row.rung,
                "cutoff": _finite(row.cutoff),
            }
        case Checkpoint():
            values = _key(row) | {"path": row.path, "size_bytes": row.size_bytes}
        case Inheritance():
            values = _key(row) | {
                "donor": row.donor,
                "donor_generation": row.donor_generation,
                "params": json.dumps(dict(row.params)),
                "path": row.path,
                "reason": clean(row.reason),
            }
        case Event():
            values = {
                "kind": row.kind,
                "trial": row.trial,
                "data": _data_text(row.data),
                "recorded_at": row.recorded_at,
            }
        case _:
            raise TypeError(f"{type(row).__name__} is no row of a study; write a Trial, Measurement, … (hpo.trial.Row)")
    for column in _INTEGERS[type(row)]:
        if (number := values.get(column)) is None:
            continue
        # SQLite would store NumPy's integers as bytes.
        values[column] = index(number)
        if not fits(number):
            raise ValueError(f"{type(row).__name__}.{column} is {number}, but an integer has at most 64 bits")
    return values


def _trial_values(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "params": json.dumps(dict(trial.params)),
        "state": TrialState(trial.state).value,
        "generation": trial.generation,
        "parent": trial.parent,
        "step": trial.step,
        "value": _finite(trial.value),
        "value_step": trial.value_step,
        "value_generation": trial.value_generation,
        "value_params": json.dumps(dict(trial.value_params)) if trial.value_params is not None else None,
        "cause": FailureCause(trial.cause).value if trial.cause is not None else None,
        "message": clean(trial.message) if trial.message is not None else None,
        "created_at": trial.created_at,
        "started_at": trial.started_at,
        "ended_at": trial.ended_at,
    }


def _key(row: Measurement | Decision | Checkpoint | Inheritance) -> dict[str, Any]:
    return {
        "trial": row.trial,
        "generation": row.generation,
        "step": row.step,
        "recorded_at": row.recorded_at,
    }


def to_trial(study: str, values: Values) -> Trial:
    return Trial(
        study=study,
        number=values["number"],
        params=_params(values["params"]),
        state=TrialState(values["state"]),
        generation=values["generation"],
        parent=values["parent"],
        step=values["step"],
        value=values["value"],
        value_step=values["value_step"],
        value_generation=values["value_generation"],
        value_params=_params(values["value_params"]) if values["value_params"] is not None else None,
        cause=FailureCause(values["cause"]) if values["cause"] is not None else None,
        message=values["message"],
        created_at=values["created_at"],
        started_at=values["started_at"],
        ended_at=values["ended_at"],
    )


def to_measurement(study: str, values: Values) -> Measurement:
    return Measurement(
        study=study,
        trial=values["trial"],
        generation=values["generation"],
        step=values["step"],
        metrics={name: float(value) for name, value in json.loads(values["metrics"]).items()},
        recorded_at=values["recorded_at"],
    )


def to_decision(study: str, values: Values) -> Decision:
    return Decision(
        study=study,
        trial=values["trial"],
        generation=values["generation"],
        step=values["step"],
        action=Action(values["action"]),
        reason=values["reason"],
        rung=values["rung"],
        cutoff=values["cutoff"],
        recorded_at=values["recorded_at"],
    )


def to_checkpoint(study: str, values: Values) -> Checkpoint:
    return Checkpoint(
        study=study,
        trial=values["trial"],
        generation=values["generation"],
        step=values["step"],
        path=values["path"],
        size_bytes=values["size_bytes"],
        recorded_at=values["recorded_at"],
    )


def to_inheritance(study: str, values: Values) -> Inheritance:
    return Inheritance(
        study=study,
        trial=values["trial"],
        generation=values["generation"],
        donor=values["donor"],
        donor_generation=values["donor_generation"],
        step=values["step"],
        params=_params(values["params"]),
        path=values["path"],
        reason=values["reason"],
        recorded_at=values["recorded_at"],
    )


def to_event(study: str, values: Values) -> Event:
    return Event(
        study=study,
        kind=values["kind"],
        trial=values["trial"],
        data=json.loads(values["data"]),
        recorded_at=values["recorded_at"],
        id=values["id"],
    )


_DECODERS: dict[type, Callable[[str, Values], Row]] = {
    Trial: to_trial,
    Measurement: to_measurement,
    Decision: to_decision,
    Checkpoint: to_checkpoint,
    Inheritance: to_inheritance,
    Event: to_event,
}


def decode(kind: type, study: str, values: Values) -> Row:
    """A row of a study out of its columns: what `encode` took, with an event's id."""
    return _DECODERS[kind](study, values)


def study_values(study: Study) -> dict[str, Any]:
    return {
        "name": study.name,
        "spec": json.dumps(to_data(study.spec)),
        "project": study.project,
        "state": study.state.value,
        "message": study.message,
        "package": study.package,
        "attempt": study.attempt,
        "job": study.job,
        "version": study.version,
        "created_at": study.created_at,
        "started_at": study.started_at,
        "ended_at": study.ended_at,
        "share": study.share,
        "waiting": json.dumps([study.waiting.reason.value, study.waiting.message]) if study.waiting else None,
    }


def to_study(values: Values) -> Study:
    return Study(
        name=values["name"],
        spec=to_spec(values["spec"]),
        project=values["project"],
        state=StudyState(values["state"]),
        message=values["message"],
        package=values["package"],
        attempt=values["attempt"],
        job=values["job"],
        version=values["version"],
        created_at=values["created_at"],
        started_at=values["started_at"],
        ended_at=values["ended_at"],
        share=values["share"],
        waiting=to_waiting(values["waiting"]),
    )


def to_waiting(text: str | None) -> Waiting | None:
    if text is None:
        return None
    reason, message = json.loads(text)
    return Waiting(WaitReason(reason), message)


@lru_cache(maxsize=256)
def to_spec(text: str) -> StudySpec:
    """Kept for the studies that are read often: to check a specification takes longer than to read it. It is frozen."""
    return parse(json.loads(text))


def clean(text: str) -> str:
    """The text without what PostgreSQL or UTF-8 refuses: a failure's message may hold any bytes."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd")


def _params(text: str) -> Params:
    params: Params = json.loads(text)
    return params


def _metrics_text(metrics: Metrics) -> str:
    numbers = {name: float(value) for name, value in metrics.items()}
    if all(map(math.isfinite, numbers.values())):
        return _flat_text(numbers)
    return json.dumps({name: n if math.isfinite(n) else name_of(n) for name, n in numbers.items()})


def _flat_text(values: Mapping[str, Any]) -> str:
    """What json.dumps gives for texts, finite numbers, bools and None by names, in less time: a driver writes a few of
    them with every report."""
    return "{" + ", ".join([f"{_quoted(name)}: {_AS_JSON[type(value)](value)}" for name, value in values.items()]) + "}"


_quoted = lru_cache(maxsize=4096)(json.dumps)
"""A text as JSON. Names come again and again."""
_AS_JSON: Mapping[type, Callable[[Any], str]] = {
    float: float.__repr__, int: int.__repr__, bool: json.dumps, type(None): json.dumps, str: _quoted,
}  # fmt: skip


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def name_of(number: float) -> str:
    """What JSON texts call a number that isn't finite; `float` reads it back."""
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _data_text(data: Mapping[str, object]) -> str:
    """As JSON. Most data are flat and finite, and need not be looked through."""
    if all(type(value) in _PLAIN or (type(value) is float and math.isfinite(value)) for value in data.values()):
        return _flat_text(data)
    return json.dumps(_json_safe(data))


def _json_safe(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return name_of(value)
    if isinstance(value, Mapping):
        return {str(key): _json_safe(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_json_safe(inner) for inner in value]
    return value
