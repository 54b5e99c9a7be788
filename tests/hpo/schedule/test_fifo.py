"""FIFO: the conformance suite."""

from __future__ import annotations

from typing import Any, ClassVar

from conformance.scheduler import SchedulerConformance

from hpo.trial import Action


class TestFifoScheduler(SchedulerConformance):
    scheduler: ClassVar[dict[str, Any]] = {"algorithm": "fifo"}

    def test_stops_nothing(self) -> None:
        assert {decision.action for decision in self.play().decisions} == {Action.CONTINUE, Action.COMPLETE}
