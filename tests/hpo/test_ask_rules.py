"""What a study can't have whose workers are the user's own: each is refused at its field, with the remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.cli import app
from api.submission import accept
from hpo import compatibility
from hpo.driver import drive
from hpo.errors import InvalidSpecError, Problem, StudyStateError
from hpo.specfile import parse, to_data
from hpo.store import open_store
from hpo.store.memory import MemoryStore
from tests.hpo.asking.bench import ask_spec


def problems(**changes: Any) -> list[Problem]:
    with pytest.raises(InvalidSpecError) as refused:
        compatibility.check(parse(ask_spec(**changes)))
    return list(refused.value.problems)


@pytest.mark.parametrize(
    ("changes", "pointer", "remedy"),
    [
        ({"trainable": "m:f"}, "/trainable", "hpo work"),
        ({"scheduler": {"algorithm": "ray:ASHAScheduler"}}, "/scheduler/algorithm", "without ray:"),
        ({"resources": {"workers": 2}}, "/resources", "drop resources"),
        ({"priority": 1}, "/priority", "drop priority"),
        ({"retry": {"lost_workers": 5}}, "/retry/lost_workers", "drop lost_workers"),
        ({"budget": {"disk_gigabytes": 1}}, "/budget/disk_gigabytes", "drop disk_gigabytes"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_field_and_the_remedy(
    changes: dict[str, Any], pointer: str, remedy: str
) -> None:
    (problem,) = problems(**changes)
    assert problem.pointer == pointer
    assert "engine is 'ask'" in problem.detail
    assert remedy in problem.hint


def test_a_study_needs_a_trainable_unless_its_workers_are_the_users_own() -> None:
    spec = parse(ask_spec(retry={"errors": 3}, concurrency=4))
    assert (spec.trainable, parse(to_data(spec))) == (None, spec)
    assert accept(to_data(spec), MemoryStore()).spec == spec
    with pytest.raises(InvalidSpecError, match=r'trainable: is missing.*engine = "ask"'):
        parse({**ask_spec(), "engine": "ray"})
    with pytest.raises(InvalidSpecError, match="engine: 'rey' is not known; did you mean 'ray'"):
        parse({**ask_spec(), "engine": "rey"})


def test_a_working_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError, match="a working folder is given"):
        accept(ask_spec(), MemoryStore(), working_dir=tmp_path)


def test_no_driver_takes_such_a_study(tmp_path: Path) -> None:
    store = open_store("memory://")
    store.create_study(parse(ask_spec()))
    with pytest.raises(StudyStateError, match="needs no driver"):
        drive(store, "s", tmp_path)
    store.claim("s", holder="another", lease_seconds=60)  # it has let go of it


def test_hpo_run_says_that_such_a_study_needs_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_HOME", str(tmp_path))
    spec = tmp_path / "s.json"
    spec.write_text(json.dumps(ask_spec()))
    done = CliRunner().invoke(app, ["run", str(spec)])
    assert (done.exit_code, "`hpo work` trains it" in done.output) == (1, True), done.output
