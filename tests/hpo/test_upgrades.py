"""What every released schema's version left in a database goes up to the newest schema, and back, on both engines."""

from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conformance.store_database import SCHEMAS, connected, leave_behind, table_names
from conformance.store_values import spec
from sqlalchemy import MetaData, select

from hpo.errors import RequestKeyError
from hpo.protocols import Store
from hpo.steering import RequestKey, Verb
from hpo.store import migrations, open_store
from hpo.tenancy import Role
from hpo.trial import Decision, Event, Measurement, StudyState, Trial, TrialState

INHERITANCES, STEERING, TENANTS, WEIGHTS = "0002", "0003", "0004", "0008"
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that nobody has used."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/hpo.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


each_revision = pytest.mark.parametrize("revision", migrations.revisions())


def rows(url: str) -> Rows:
    """All rows of all tables, by the columns that they have now."""
    with connected(url) as connection:
        found = MetaData()
        found.reflect(connection)
        return {
            table.name: sorted((dict(row._mapping) for row in connection.execute(select(table))), key=repr)
            for table in found.sorted_tables
            if table.name != "alembic_version"
        }


def known_to(old: Rows, new: Rows) -> Rows:
    """The rows of `new`, in the tables and the columns of `old`."""
    return {
        name: sorted(({key: row[key] for key in known[0]} for row in new[name]), key=repr)
        for name, known in old.items()
        if known
    }


def test_every_revision_has_a_database_of_its_time() -> None:
    assert {path.stem for path in SCHEMAS.glob("*.sql")} == {f"r{revision}" for revision in migrations.revisions()}, (
        "run tests/hpo/schemas/freeze.py with the commit that brings a revision"
    )


@each_revision
def test_what_an_older_version_wrote_is_read_as_it_was_meant(url: str, revision: str) -> None:
    leave_behind(url, revision)
    with closing(open_store(url)) as store:
        assert migrations.check(url) == []
        assert [study.name for study in store.studies().items] == ["younger", "old"]
        study = store.study("old")
        assert (study.state, study.version, study.attempt) == ("running", 3 if revision >= STEERING else 2, 0)
        assert study.spec.labels == {"谁": "我们"}
        assert study.spec.budget.trials == 4
        assert study.spec.priority == (3 if revision >= STEERING else 0)
        assert study.project == ("news" if revision >= TENANTS else "default")
        times: dict[str, float] = {"created_at": 2.0, "started_at": 3.0, "ended_at": 4.0}
        best: dict[str, Any] = {"step": 2, "value": 0.5, "value_step": 1, "value_generation": 0}
        first = {"lr": 0.25, "kind": "a'b"}
        assert store.trials("old").items == [
            Trial(study="old", number=0, params=first, state=TrialState.STOPPED, message="满", **best, **times),
            Trial(study="old", number=1, params={"lr": 0.5, "kind": True}, created_at=5.0),
        ]
        one, two = store.measurements("old").items
        assert (one.metrics, two.metrics["odd"]) == ({"loss": 0.5}, math.inf)
        assert math.isnan(two.metrics["none"])
        assert [each.cutoff for each in store.decisions("old").items] == [None, 0.625]
        assert [each.path for each in store.checkpoints("old")] == ["old/0/1"]
        assert store.counts("old").steps == 2
        assert [row.donor for row in store.inheritances("old")] == ([0] if revision >= INHERITANCES else [])
        assert [type(row) for _, row in store.history("old", limit=9)][3:5] == [Measurement, Decision]
        assert store.events("old")[3].data == {"message": "满", "best": 0.5}


@each_revision
def test_what_people_asked_of_an_older_version_still_holds(url: str, revision: str) -> None:
    leave_behind(url, revision)
    with closing(open_store(url)) as store:
        asked = [(command.verb, command.who) for command in store.commands("old")]
        assert asked == ([(Verb.CHANGE, "ann")] if revision >= STEERING else [])
        if revision >= STEERING:
            with pytest.raises(RequestKeyError):
                store.steer("old", Verb.PAUSE, who="bob", request=RequestKey("second", "2" * 64))
        projects = {project.name: project.quotas.max_trials for project in store.projects().items}
        assert projects == ({"default": None, "news": 4} if revision >= TENANTS else {"default": None})
        weights = {project.name: project.weight for project in store.projects().items}
        assert weights == {name: 2.5 if (name, revision >= WEIGHTS) == ("news", True) else 1.0 for name in projects}
        if revision >= TENANTS:
            token = store.authenticate("tok1", "d" * 64)
            assert token is not None
            assert (token.project, token.role) == ("news", Role.SUBMITTER)
        else:
            assert store.project("default").created_at == store.study("old").created_at


@each_revision
def test_a_study_of_an_older_version_goes_on_and_new_ones_begin(url: str, revision: str) -> None:
    leave_behind(url, revision)
    with closing(open_store(url)) as store:
        go_on(store, "old", step=3)
        store.create_study(spec("new"))
        go_on(store, "new", step=1)
        assert [study.name for study in store.studies().items] == ["new", "younger", "old"]
        store.set_study_state("younger", StudyState.CANCELLED)
        store.delete_study("younger")
        assert store.counts("old").steps == 3


def go_on(store: Store, name: str, *, step: int) -> None:
    lease = store.claim(name, holder="driver-2", lease_seconds=60)
    last = store.last_id(name)
    report = Measurement(study=name, trial=1, step=step, metrics={"loss": 0.1}, recorded_at=20.0)
    told = Event(study=name, kind="trial.reported", trial=1, recorded_at=20.0)
    store.write(lease, [Trial(study=name, number=1, params={"lr": 0.5}, created_at=5.0), report, told])
    assert [number for number, _ in store.history(name, after=last)] == [last + 1, last + 2]
    assert store.measurements(name, trial=1).items == [report]
    store.release(lease)


@each_revision
def test_the_way_back_step_by_step_leaves_all_as_the_older_version_wrote_it(url: str, revision: str) -> None:
    leave_behind(url, revision)
    before, tables = rows(url), table_names(url)
    migrations.upgrade(url)
    for older in reversed(migrations.revisions()[:-1]):
        if older < revision:
            break
        assert known_to(before, rows(url)) == {name: known for name, known in before.items() if known}
        migrations.downgrade(url, older)
    assert (rows(url), table_names(url)) == (before, tables)
    migrations.upgrade(url)
    assert migrations.check(url) == []


@each_revision
def test_what_the_newest_version_wrote_goes_back_as_far_as_an_older_schema_knows_it(url: str, revision: str) -> None:
    newest = migrations.head()
    leave_behind(url, newest)
    before = rows(url)
    migrations.downgrade(url, revision)
    left = rows(url)
    for name, kept in left.items():
        of_the_time = known_to({name: kept}, before)
        if name == "requests" and revision < TENANTS:
            assert kept == []  # those of a project but the default one are forgotten
        elif kept:
            assert kept == of_the_time[name], name
        else:
            assert before[name] == [], name
    with closing(open_store(url)) as store:
        assert migrations.check(url) == []
        assert [trial.value for trial in store.trials("old").items] == [0.5, None]
        assert store.counts("old").steps == 2
