"""What a store is asked about the rows of its studies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hpo.census import Census
from hpo.page import Page
from hpo.series import MAX_POINTS, Series
from hpo.trial import (
    Checkpoint,
    Decision,
    Event,
    Inheritance,
    Measurement,
    Row,
    StudyCounts,
    Trial,
    TrialState,
)


class Reader(Protocol):
    """The part of a Store (`hpo.protocols`) that tells what is recorded.

    What `Store` says of snapshots, pages, filters, orders and errors holds here too.
    """

    def trial(self, study: str, number: int) -> Trial:
        """Raises TrialNotFoundError."""

    def trials(
        self,
        study: str,
        *,
        state: TrialState | None = None,
        filter: str | None = None,
        order_by: str = "number",
        page_size: int = 100,
        page_token: str | None = None,
    ) -> Page[Trial]:
        """By number, value, step, created_at, started_at or ended_at; ties by number, rising. `value` without a
        direction is best first, in the direction of the study's first objective. By what changes between two pages, a
        trial may come twice, or not."""

    def measurements(
        self, study: str, *, trial: int | None = None, page_size: int = 100, page_token: str | None = None
    ) -> Page[Measurement]:
        """In the order in which they were recorded; a trial's by generation and step."""

    def decisions(
        self, study: str, *, trial: int | None = None, page_size: int = 100, page_token: str | None = None
    ) -> Page[Decision]:
        """In the order in which they were recorded; a trial's by generation and step."""

    def judgements(
        self, study: str, *, page_size: int = 100, page_token: str | None = None
    ) -> Page[tuple[Measurement, Decision]]:
        """The reports that fell on a rung, and those after which the trial paused, stopped or was complete, each with
        its decision; in the order in which they were recorded."""

    def latest(self, study: str, *, page_size: int = 100, page_token: str | None = None) -> Page[Measurement]:
        """The measurement at which each trial stands, by the trial's number. Those that have not reported since they
        began, or went on from other weights, are left out."""

    def last_id(self, study: str) -> int:
        """The highest id that a row of the study's history has; 0 for none. It rises whenever anything happens."""

    def series(self, study: str, metric: str, numbers: Sequence[int], *, points: int = MAX_POINTS) -> Sequence[Series]:
        """A metric of some trials over their steps, a series each, of at most so many points (`hpo.series`). What isn't
        finite is left out. Raises TrialNotFoundError; InvalidQueryError for more trials or points than are given at
        once."""

    def checkpoints(self, study: str, *, trial: int | None = None) -> Sequence[Checkpoint]:
        """In the order in which they were recorded."""

    def inheritances(self, study: str, *, trial: int | None = None) -> Sequence[Inheritance]:
        """The family tree, in the order in which it grew."""

    def history(self, study: str, *, after: int = 0, limit: int = 1000) -> Sequence[tuple[int, Row]]:
        """Measurements, decisions, checkpoints (those that are kept), inheritances and events together, with their
        ids above `after`, in the order in which they were recorded; at most `limit`. Trials are not among them."""

    def events(self, study: str, *, after: int = 0, limit: int = 100, kind: str | None = None) -> Sequence[Event]:
        """Events with an id above `after`, rising, at most `limit`; of one kind if given.

        An id is visible only when all smaller ids of the study are: a reader that goes on from the last id it saw
        misses none.
        """

    def counts(self, study: str) -> StudyCounts: ...

    def census(self) -> Census:
        """How all studies together stand, at about one moment; cheap enough to be asked every few seconds."""
