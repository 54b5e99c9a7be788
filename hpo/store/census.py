"""The census in SQL: three statements. Only that over the trials grows with what is stored, and it reads an index."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, func, literal, select

from hpo.census import ENTERING, Census, OpenStudy
from hpo.store.rows import Values, to_waiting
from hpo.store.tables import events, leases, studies, trials
from hpo.trial import StudyState, TrialState


def standing_values(values: Values) -> dict[str, Any]:
    """What a study's columns say of how it stands (`hpo.census.OpenStudy`). The specification isn't checked: there may
    be many, and the figures are wanted every few seconds."""
    spec = json.loads(values["spec"])
    return {
        "project": values["project"],
        "priority": spec.get("priority", 0),
        "job": values["job"],
        "share": values["share"],
        "waiting": to_waiting(values["waiting"]),
        "is_asked": spec.get("engine") == "ask",
    }


def take(connection: Connection, now: float) -> Census:
    """How everything stands at `now`, in seconds since the epoch."""
    by_study: dict[str, int] = dict(
        connection.execute(select(studies.c.state, func.count()).group_by(studies.c.state)).all()
    )
    # By study too, which is the order of an index: so nothing needs to be sorted.
    of_each = select(trials.c.state, func.count()).group_by(trials.c.study_id, trials.c.state)
    by_trial: Counter[str] = Counter()
    for state, number in connection.execute(of_each):
        by_trial[state] += number
    return Census(
        studies={state: by_study.get(state.value, 0) for state in StudyState},
        trials={state: by_trial[state.value] for state in TrialState},
        open=_open(connection, now),
    )


def _open(connection: Connection, now: float) -> Sequence[OpenStudy]:
    found = []
    for row in connection.execute(_query()).mappings():
        entered = row["created_at"] if row["entered_at"] is None else row["entered_at"]
        last = row["created_at"] if row["event_at"] is None else row["event_at"]
        found.append(
            OpenStudy(
                name=row["name"],
                state=StudyState(row["state"]),
                state_seconds=max(0.0, now - entered),
                quiet_seconds=max(0.0, now - last),
                **standing_values(row),
                lease_seconds=None if row["expires_at"] is None else row["expires_at"] - now,
            )
        )
    return found


def _query() -> Select[Any]:
    """The studies that have not ended, by name, with their leases and the times of two events."""
    of_study = events.c.study_id == studies.c.id
    # Not the last by id: to find that, a database may walk back over millions of reports.
    entering = events.c.kind.in_([*ENTERING, literal("study.") + studies.c.state])
    entered = select(func.max(events.c.recorded_at)).where(of_study, entering).correlate(studies).scalar_subquery()
    last = select(events.c.recorded_at).where(of_study).order_by(events.c.id.desc()).limit(1)
    return (
        select(
            studies.c.name,
            studies.c.state,
            studies.c.spec,
            studies.c.project,
            studies.c.job,
            studies.c.share,
            studies.c.waiting,
            studies.c.created_at,
            leases.c.expires_at,
            entered.label("entered_at"),
            last.correlate(studies).scalar_subquery().label("event_at"),
        )
        .select_from(studies.outerjoin(leases, leases.c.study_id == studies.c.id))
        .where(studies.c.state.in_([state.value for state in StudyState if not state.is_final]))
        .order_by(studies.c.name)
    )
