"""One study of MemoryStore: its columns, and those of its rows."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from typing import Any, cast

from hpo.census import ENTERING, OpenStudy
from hpo.store import transitions
from hpo.store.census import standing_values
from hpo.store.rows import Values, study_values
from hpo.trial import Action, Checkpoint, Decision, Event, Inheritance, Lease, Measurement, Study, StudyState, Trial

_Key = tuple[int, int, int]
_id = itemgetter("id")


@dataclass(slots=True)
class Entry:
    """A study and its rows. Everything but trials is in the order of its ids."""

    study: Values
    trials: dict[int, dict[str, Any]] = field(default_factory=dict)
    once: dict[type, dict[_Key, Values]] = field(
        default_factory=lambda: {kind: {} for kind in (Measurement, Decision, Checkpoint, Inheritance)}
    )
    """The rows that count once, by (trial, generation, step)."""
    events: list[Values] = field(default_factory=list)
    log: list[tuple[int, type, Values]] = field(default_factory=list)
    """All of these rows: id, kind, columns."""
    last_id: int = 0
    lease: Lease | None = None

    def append(self, kind: type, values: dict[str, Any]) -> None:
        """Write the columns of one row; it gets its id here."""
        if kind is Trial:
            old = self.trials.get(values["number"], values)
            self.trials[values["number"]] = values | {"created_at": old["created_at"]}
            return
        self.last_id += 1
        values = values | {"id": self.last_id}
        if kind is Event:
            self.events.append(values)
        elif self.once[kind].setdefault((values["trial"], values["generation"], values["step"]), values) is not values:
            return
        self.log.append((self.last_id, kind, values))

    def update(self, before: Study, after: Study) -> None:
        """Write the study's columns, and those of the trials that it leaves open."""
        self.study = study_values(after)
        states, values = transitions.left_open(before, after)
        for number, row in self.trials.items():
            if row["state"] in states:
                self.trials[number] = row | values

    def forget(self, paths: Collection[str]) -> None:
        """Drop the checkpoints at these paths."""
        checkpoints = self.once[Checkpoint]
        for key, values in [item for item in checkpoints.items() if item[1]["path"] in paths]:
            del checkpoints[key]
            del self.log[bisect_left(self.log, values["id"], key=itemgetter(0))]

    def rows(self, kind: type, trial: int | None = None, *, after: int = 0) -> list[Values]:
        """The rows of a kind that count once, with ids above `after`, of one trial if given."""
        rows = list(self.once[kind].values())
        return [row for row in rows[bisect_right(rows, after, key=_id) :] if trial in (None, row["trial"])]

    def judged(self, after: int) -> list[Values]:
        """The decisions with ids above `after` that fell on a rung or changed what a trial does, with their metrics."""
        reports = self.once[Measurement]
        return [
            cast(dict[str, Any], row) | {"metrics": reports[key]["metrics"]}
            for row in self.rows(Decision, after=after)
            if (row["rung"] is not None or row["action"] != Action.CONTINUE.value)
            and (key := (row["trial"], row["generation"], row["step"])) in reports
        ]

    def latest(self, after: int) -> list[Values]:
        """The measurements at which the trials with numbers above `after` stand, by number."""
        stands = ((number, row["generation"], row["step"]) for number, row in sorted(self.trials.items()))
        return [self.once[Measurement][key] for key in stands if key[0] > after and key in self.once[Measurement]]

    def events_after(self, after: int, limit: int, kind: str | None) -> Sequence[Values]:
        start = bisect_right(self.events, after, key=_id)
        found = (row for row in islice(self.events, start, None) if kind in (None, row["kind"]))
        return list(islice(found, limit))

    def standing(self, now: float) -> OpenStudy:
        """How the study stands, which has not ended."""
        state = StudyState(self.study["state"])
        kinds = (*ENTERING, f"study.{state.value}")
        return OpenStudy(
            name=self.study["name"],
            state=state,
            state_seconds=max(0.0, now - max(row["recorded_at"] for row in self.events if row["kind"] in kinds)),
            quiet_seconds=max(0.0, now - self.events[-1]["recorded_at"]),
            **standing_values(self.study),
            lease_seconds=self.lease.expires_at - now if self.lease is not None else None,
        )

    def log_after(self, after: int, limit: int) -> Sequence[tuple[int, type, Values]]:
        start = bisect_right(self.log, after, key=itemgetter(0))
        return self.log[start : start + limit]
