"""A study's rows as tables: what an export holds, read out of the store in pages.

A row is a mapping from column to value; what a row has no value for isn't in it. Parameters are columns `params.NAME`,
metrics `metrics.NAME`. Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, TypeVar

from hpo.parameters import BoolParameter, CategoricalParameter, FloatParameter, IntParameter, Parameter
from hpo.protocols import MAX_PAGE_SIZE, Page, Store
from hpo.spec import RaySchedule, StudySpec
from hpo.trial import Checkpoint, Decision, Event, FailureCause, Inheritance, Measurement, Trial, TrialState

T = TypeVar("T")

TableRow = dict[str, Any]

PARAMS, VALUE_PARAMS, METRICS = "params.", "value_params.", "metrics."


class What(StrEnum):
    """Which rows."""

    TRIALS = "trials"
    """By number, each with its parameters, and with the metrics of its last report."""
    MEASUREMENTS = "measurements"
    """All that was reported, in the order in which it was recorded."""
    DECISIONS = "decisions"
    """What the scheduler answered."""
    CHECKPOINTS = "checkpoints"
    """Those that are kept."""
    INHERITANCES = "inheritances"
    """The family tree."""
    EVENTS = "events"
    """The study's history."""


class Kind(StrEnum):
    """The type of a column."""

    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    TEXT = "text"
    TIME = "time"
    JSON = "json"
    """Values of several types, or nested ones."""


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    kind: Kind


_KEY = {"trial": Kind.INT, "generation": Kind.INT, "step": Kind.INT}
_FIXED: Mapping[What, Mapping[str, Kind]] = {
    What.TRIALS: {
        "number": Kind.INT, "state": Kind.TEXT, "value": Kind.FLOAT, "value_step": Kind.INT,
        "value_generation": Kind.INT, "step": Kind.INT, "generation": Kind.INT, "parent": Kind.INT, "cause": Kind.TEXT,
        "message": Kind.TEXT, "created_at": Kind.TIME, "started_at": Kind.TIME, "ended_at": Kind.TIME,
    },
    What.MEASUREMENTS: {**_KEY, "recorded_at": Kind.TIME},
    What.DECISIONS: {
        **_KEY, "action": Kind.TEXT, "reason": Kind.TEXT, "rung": Kind.INT, "cutoff": Kind.FLOAT,
        "recorded_at": Kind.TIME,
    },
    What.CHECKPOINTS: {**_KEY, "path": Kind.TEXT, "size_bytes": Kind.INT, "recorded_at": Kind.TIME},
    What.INHERITANCES: {
        **_KEY, "donor": Kind.INT, "donor_generation": Kind.INT, "path": Kind.TEXT, "reason": Kind.TEXT,
        "recorded_at": Kind.TIME,
    },
    What.EVENTS: {
        "id": Kind.INT, "kind": Kind.TEXT, "trial": Kind.INT, "data": Kind.JSON, "recorded_at": Kind.TIME,
    },
}  # fmt: skip


def columns(spec: StudySpec, what: What, metrics: Iterable[str]) -> list[Column]:
    """The columns of a table whose rows have these metrics."""
    found = [Column(name, kind) for name, kind in _FIXED[what].items()]
    kinds = {name: _kind(parameter) for name, parameter in spec.parameters.items()}
    if what in (What.TRIALS, What.INHERITANCES):
        found += [Column(PARAMS + name, kind) for name, kind in kinds.items()]
    if what is What.TRIALS and _may_inherit(spec):
        found += [Column(VALUE_PARAMS + name, kind) for name, kind in kinds.items()]
    return found + [Column(METRICS + name, Kind.FLOAT) for name in metrics]


def rows(store: Store, study: str, what: What) -> Iterator[TableRow]:
    """All rows, a page at a time. Raises StudyNotFoundError."""
    match what:
        case What.TRIALS:
            return _trials(store, study)
        case What.MEASUREMENTS:
            return map(_measurement, pages(lambda **page: store.measurements(study, **page)))
        case What.DECISIONS:
            return map(_flat, pages(lambda **page: store.decisions(study, **page)))
        case What.CHECKPOINTS:
            return map(_flat, store.checkpoints(study))
        case What.INHERITANCES:
            return map(_flat, store.inheritances(study))
        case What.EVENTS:
            return map(_flat, events(store, study))


def trial_of(study: str, row: Mapping[str, Any]) -> Trial:
    """Back from a row of the table of trials."""
    values: dict[str, Any] = {name: row.get(name) for name in _FIXED[What.TRIALS]}
    values["state"] = TrialState(values["state"])
    values["cause"] = values["cause"] and FailureCause(values["cause"])
    params, value_params = _under(PARAMS, row), _under(VALUE_PARAMS, row)
    return Trial(study=study, params=params, value_params=value_params or None, **values)


def metrics_of(row: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a row of the tables of trials or measurements; numbers that aren't finite may come as text."""
    return {name: float(value) for name, value in _under(METRICS, row).items()}


def pages(fetch: Callable[..., Page[T]]) -> Iterator[T]:
    """All items of a list of the store."""
    token: str | None = None
    while True:
        page = fetch(page_size=MAX_PAGE_SIZE, page_token=token)
        yield from page.items
        token = page.next_page_token
        if token is None:
            return


def events(store: Store, study: str, kind: str | None = None) -> Iterator[Event]:
    """A study's history, or its events of one kind, a page at a time. Raises StudyNotFoundError."""
    last = 0
    while page := store.events(study, after=last, limit=MAX_PAGE_SIZE, kind=kind):
        yield from page
        last = page[-1].id


# -- inside -----------------------------------------------------------------------------------------------
def _trials(store: Store, study: str) -> Iterator[TableRow]:
    """Trials and their last reports both come by number."""
    reports = pages(lambda **page: store.latest(study, **page))
    report = next(reports, None)
    for trial in pages(lambda **page: store.trials(study, **page)):
        while report is not None and report.trial < trial.number:
            report = next(reports, None)
        row = _flat(trial)
        if report is not None and report.trial == trial.number:
            row |= {METRICS + name: value for name, value in report.metrics.items()}
        yield row


def _measurement(row: Measurement) -> TableRow:
    # By hand: `asdict` takes longer than all the rest of an export, and there may be a million of these.
    found: TableRow = {
        "trial": row.trial, "generation": row.generation, "step": row.step, "recorded_at": row.recorded_at,
    }  # fmt: skip
    for name, value in row.metrics.items():
        found[METRICS + name] = value
    return found


def _flat(row: Trial | Decision | Checkpoint | Inheritance | Event) -> TableRow:
    """The row's fields, those of its parameters each a column."""
    found: TableRow = {}
    for name, value in asdict(row).items():
        if name in ("params", "value_params"):
            found |= {f"{name}.{each}": inner for each, inner in (value or {}).items()}
        elif value is not None and name != "study":
            found[name] = value
    return found


def _under(prefix: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): value
        for name, value in row.items()
        if name.startswith(prefix) and value is not None
    }  # fmt: skip


def _kind(parameter: Parameter) -> Kind:
    match parameter:
        case FloatParameter():
            return Kind.FLOAT
        case IntParameter():
            return Kind.INT
        case BoolParameter():
            return Kind.BOOL
        case CategoricalParameter(choices=choices):
            kinds = {_KINDS[type(choice)] for choice in choices}
            return kinds.pop() if len(kinds) == 1 else Kind.JSON


_KINDS = {str: Kind.TEXT, bool: Kind.BOOL, int: Kind.INT, float: Kind.FLOAT}


def _may_inherit(spec: StudySpec) -> bool:
    """Whether a trial's parameters may be others than those that gave its value."""
    return isinstance(spec.scheduler, RaySchedule) or any(each.mutable for each in spec.parameters.values())
