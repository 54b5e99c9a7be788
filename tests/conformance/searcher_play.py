"""A searcher driven by hand: reports, ends, and the calls written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hpo.protocols import Searcher
from hpo.trial import FailureCause, Measurement, Params, Trial, TrialState

Loss = Callable[[Params], float]
Value = Callable[[int], float]


def by_number(number: int) -> float:
    """A loss that depends on the trial's number only."""
    return float(number * 7 % 11)


def typed(params: Params) -> tuple[tuple[str, str], ...]:
    return tuple((name, repr(value)) for name, value in sorted(params.items()))


def report(searcher: Searcher, number: int, step: int, *, value: Value = by_number, cost: Value = by_number) -> None:
    metrics = {"loss": value(number) / step, "cost": cost(number) / step}
    searcher.observe(Measurement(study="conformance", trial=number, step=step, metrics=metrics, recorded_at=0.0))


def end(searcher: Searcher, number: int, params: Params, *, kind: int, value: Value = by_number) -> None:
    """Completed, stopped, failed, or failed without a report: kinds 0 to 3."""
    common: dict[str, Any] = {"study": "conformance", "number": number, "params": params, "created_at": 0.0}
    valued: dict[str, Any] = {"step": 2, "value": value(number) / 2, "value_step": 2, **common}
    match kind:
        case 0:
            trial = Trial(state=TrialState.COMPLETED, **valued)
        case 1:
            trial = Trial(state=TrialState.STOPPED, **valued)
        case 2:
            trial = Trial(state=TrialState.FAILED, cause=FailureCause.ERROR, **valued)
        case _:
            trial = Trial(state=TrialState.FAILED, cause=FailureCause.NO_METRIC, **common)
    searcher.complete(trial)


def drive(
    searcher: Searcher, num_trials: int, *, value: Value = by_number, cost: Value = by_number, start: int = 0
) -> list[Params]:
    """Four trials at once, ending in turn: completed, stopped, failed, and failed without a report."""
    proposals: list[Params] = []
    for number in range(start, start + num_trials):
        params = searcher.suggest(number)
        if params is None:
            break
        proposals.append(params)
        for step in (1, 2):
            if number - start >= step - 1:
                report(searcher, number - step + 1, step, value=value, cost=cost)
        if number - start >= 3:
            end(searcher, number - 3, proposals[number - start - 3], kind=number % 4, value=value)
    return proposals


def completed(number: int, params: Params, value: float, **changes: Any) -> Trial:
    return Trial(
        study="conformance", number=number, params=params, state=TrialState.COMPLETED, step=1, value=value,
        value_step=1, created_at=0.0, **changes,
    )  # fmt: skip


def play(searcher: Searcher, numbers: range, loss: Loss) -> list[float]:
    """One trial after the other, each completed with one report; their losses."""
    losses = []
    for number in numbers:
        params = searcher.suggest(number)
        assert params is not None
        losses.append(loss(params))
        told(searcher, number, params, losses[-1])
    return losses


def told(searcher: Searcher, number: int, params: Params, value: float) -> None:
    metrics = {"loss": value}
    searcher.observe(Measurement(study="conformance", trial=number, step=1, metrics=metrics, recorded_at=0.0))
    searcher.complete(completed(number, params, value))


class Recorder:
    """A searcher whose calls and proposals are written down."""

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher
        self.calls: list[tuple[str, tuple[Any, ...], Params | None]] = []

    def suggest(self, number: int) -> Params | None:
        params = self._searcher.suggest(number)
        self.calls.append(("suggest", (number,), params))
        return params

    def adopt(self, number: int, params: Params) -> None:
        self._searcher.adopt(number, params)
        self.calls.append(("adopt", (number, dict(params)), None))

    def observe(self, measurement: Measurement) -> None:
        self._searcher.observe(measurement)
        self.calls.append(("observe", (measurement,), None))

    def complete(self, trial: Trial) -> None:
        self._searcher.complete(trial)
        self.calls.append(("complete", (trial,), None))

    def assert_replayed_by(self, fresh: Searcher) -> None:
        """The same calls on a fresh searcher give the same proposals."""
        for method, arguments, answer in self.calls:
            assert getattr(fresh, method)(*arguments) == answer, (method, arguments)
