"""Writes what the version of the newest schema leaves in a database: run `python tests/hpo/schemas/freeze.py` once,
with the commit that brings a new revision. Each file here was written by the very version that it stands for.
"""

from __future__ import annotations

import math
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from hpo.protocols import Store
from hpo.specfile import parse
from hpo.steering import RequestKey, Verb
from hpo.store import migrations, open_store
from hpo.store.tables import metadata
from hpo.tenancy import Quotas, Role
from hpo.trial import (
    Action,
    Checkpoint,
    Decision,
    Event,
    Inheritance,
    Measurement,
    StudyState,
    Trial,
    TrialState,
)

SPEC: dict[str, Any] = {
    "name": "old",
    "trainable": "some.module:train",
    "parameters": {
        "lr": {"type": "float", "low": 0.001, "high": 1, "log": True},
        "kind": {"type": "categorical", "choices": ["a'b", "满", "1", True]},
    },
    "objective": {"metric": "loss", "direction": "minimize"},
    "scheduler": {"algorithm": "asha"},
    "budget": {"trials": 4, "steps_per_trial": 9},
    "labels": {"谁": "我们"},
}
FIRST, SECOND = {"lr": 0.25, "kind": "a'b"}, {"lr": 0.5, "kind": True}
SERIAL = {"studies": "id", "leases": "token"}
"""Columns that a database numbers by itself."""
TIMELESS = {("requests", "created_at"): 9e9, ("leases", "expires_at"): 0.0, ("roles", "expires_at"): 0.0}
"""What would come out otherwise by the day on which it is read."""


def play(store: Store) -> None:
    """A study that its driver has left in the middle, and one that waits."""
    store.create_project("news", Quotas(max_trials=4), weight=2.5)
    store.create_token("tok1", "d" * 64, project="news", name="ann", role=Role.SUBMITTER)
    first = RequestKey("first", "0" * 64)
    store.create_study(parse(SPEC), project="news", who="token:ann", request=first)
    store.create_study(parse(SPEC | {"name": "younger", "budget": {"trials": 1}}))
    lease = store.claim("old", holder="driver-1", lease_seconds=60)
    store.set_study_state("old", StudyState.RUNNING, lease=lease)
    trial: dict[str, Any] = {"study": "old", "number": 0, "params": FIRST, "created_at": 2.0}
    best: dict[str, Any] = {"value": 0.5, "value_step": 1, "value_generation": 0, "started_at": 3.0}
    one: dict[str, Any] = {"study": "old", "trial": 0, "step": 1, "recorded_at": 11.0}
    two = one | {"step": 2, "recorded_at": 12.0}
    created = Event(study="old", kind="trial.created", trial=0, recorded_at=2.0)
    store.write(lease, [Trial(**trial), created])
    store.write(lease, [
        Measurement(**one, metrics={"loss": 0.5}),
        Decision(**one, action=Action.CONTINUE, reason="no rung"),
        Checkpoint(**one, path="old/0/1", size_bytes=7),
        Trial(**trial, **best, state=TrialState.RUNNING, step=1),
    ])  # fmt: skip
    ended = {"message": "满", "best": 0.5}
    store.write(lease, [
        Measurement(**two, metrics={"loss": 0.75, "odd": math.inf, "none": math.nan}),
        Decision(**two, action=Action.STOP, reason="rung 2", rung=2, cutoff=0.625),
        Trial(**trial, **best, state=TrialState.STOPPED, step=2, message="满", ended_at=4.0),
        Event(study="old", kind="trial.stopped", trial=0, recorded_at=12.0, data=ended),
    ])  # fmt: skip
    store.write(lease, [
        Trial(study="old", number=1, params=SECOND, created_at=5.0),
        Inheritance(
            study="old", trial=1, generation=1, step=1, donor=0, donor_generation=0, params=FIRST, path="old/0/1",
            reason="rank 2 of 2", recorded_at=14.0,
        ),
    ])  # fmt: skip
    second = RequestKey("second", "1" * 64)
    store.steer("old", Verb.CHANGE, {"changes": {"priority": 3}}, who="ann", request=second)
    store.lead("controller", holder="api-1", lease_seconds=5)


def dump(path: Path) -> str:
    """All rows as INSERTs that both databases read, but for what a migration brings by itself."""
    lines: list[str] = []
    with closing(sqlite3.connect(path)) as connection:
        for table in metadata.sorted_tables:
            columns = [column.name for column in table.columns if column.name != SERIAL.get(table.name)]
            own = "WHERE name <> 'default'" if table.name == "projects" else ""
            for row in connection.execute(f"SELECT {', '.join(columns)} FROM {table.name} {own} ORDER BY rowid"):
                known = zip(columns, row, strict=True)
                values = ", ".join(_literal(TIMELESS.get((table.name, name), value)) for name, value in known)
                lines.append(f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({values});\n")
    return "".join(lines)


def _literal(value: float | str | None) -> str:
    if value is None:
        return "NULL"
    return repr(value) if isinstance(value, int | float) else "'" + value.replace("'", "''") + "'"


def main() -> None:
    target = Path(__file__).parent / f"r{migrations.head()}.sql"
    if target.exists():
        raise SystemExit(f"{target} is there already, and what a version wrote never changes")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hpo.db"
        with closing(open_store(f"sqlite:///{path}")) as store:
            play(store)
        target.write_text(dump(path), encoding="utf-8")
    print(f"{target} is written")


if __name__ == "__main__":
    main()
