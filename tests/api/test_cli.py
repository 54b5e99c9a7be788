"""The `hpo` command against a real service."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import Result

from api.cli import app
from api.cli.live import LiveView, follow
from api.cli.render import number
from api.settings import Settings
from hpo import specfile
from hpo.protocols import Store
from hpo.trial import Event, StudyState

Fill = Callable[..., None]
Run = Callable[..., Result]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def spec_file(spec: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec))
    return path


def test_a_study_is_submitted_listed_shown_and_deleted(run: Run, store: Store, spec_file: Path) -> None:
    done = run("submit", spec_file, "--set", "budget.trials=4", "--name", "other")
    assert done.exit_code == 0, done.output
    assert "hpo watch other" in done.output
    assert store.study("other").spec.budget.trials == 4
    assert "other" in run("ls").output
    assert "queued" in run("show", "other").output
    assert run("rm", "other").exit_code == 2  # at work
    store.set_study_state("other", StudyState.CANCELLED)
    assert run("rm", "other").exit_code == 0
    assert "no studies yet" in run("ls").output


def test_json_is_one_document(run: Run, fill: Fill, spec: dict[str, Any], spec_file: Path) -> None:
    fill(spec)
    assert json.loads(run("submit", spec_file, "--name", "two", "--json").output)["name"] == "two"
    assert [study["name"] for study in json.loads(run("ls", "--json").output)] == ["two", "mine"]
    assert json.loads(run("show", "mine", "--json").output)["incumbent"]["number"] == 3
    trials = json.loads(run("trials", "mine", "--order", "value", "--json").output)
    assert [trial["number"] for trial in trials] == [3, 2, 1, 0]
    assert len(json.loads(run("best", "mine", "-n", "2", "--json").output)) == 2


def test_trials_and_best_are_tables(run: Run, fill: Fill, spec: dict[str, Any]) -> None:
    fill(spec)
    assert "units=4" in run("trials", "mine", "--state", "stopped").output
    assert "/somewhere/3" in run("best", "mine", "-n", "1").output


def test_watch_tells_what_happened_and_how_it_ended(run: Run, fill: Fill, spec: dict[str, Any]) -> None:
    fill(spec)
    done = run("watch", "mine")
    assert done.exit_code == 0
    assert "new best: loss 7 by trial 3 at step 1" in done.output
    assert "trial 3 stopped at step 1" in done.output
    fill(spec | {"name": "bad"}, end=StudyState.FAILED)
    assert run("watch", "bad").exit_code == 1


def test_a_working_folder_is_uploaded(run: Run, store: Store, spec_file: Path, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "theirs.py").write_text("def train(params, trial): ...\n")
    arguments = ("submit", spec_file, "--set", "trainable=theirs:train")
    assert run(*arguments).exit_code == 2
    done = run(*arguments, "--working-dir", tmp_path / "code")
    assert done.exit_code == 0, done.output
    assert str(store.study("mine").package).startswith("sha256:")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["submit", "nowhere.toml"], "no such file"),
        (["show", "nobody"], "no study is named 'nobody'"),
        (["trials", "nobody"], "no study is named 'nobody'"),
        (["submit", "{spec}", "--set", "parameters.lr.low=1"], "error: parameters.lr.low: low is 1.0 and high is 0.1"),
        (["submit", "{spec}", "--set", "budget.trials=0"], "error: budget.trials: 0: "),
        (["submit", "{spec}", "--set", "nonsense"], "key.key=value"),
        (["submit", "{spec}", "--set", "trainable=nowhere:train"], "error: trainable: "),
        (["ls", "--state", "asleep"], "asleep"),
    ],
)
def test_bad_input_exits_with_2_and_a_line_that_helps(
    run: Run, spec_file: Path, arguments: list[str], said: str
) -> None:
    done = run(*(argument.format(spec=spec_file) for argument in arguments))
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert "Traceback" not in done.output


def test_a_study_is_planned_before_it_runs(run: Run, spec_file: Path) -> None:
    done = run(
        "simulate", spec_file, "--set", "budget.trials=8", "--workers", 2, "--workers", 4, "--repeats", 2, "--json"
    )
    assert done.exit_code == 0, done.output
    few, many = json.loads(done.stdout)["estimates"]
    assert (few["workers"], many["workers"]) == (2, 4)
    assert few["seconds"]["median"] > many["seconds"]["median"] > 0
    table = run("simulate", spec_file, "--step-seconds", 3600, "--repeats", 1)
    assert "worker groups" in table.output
    assert " h " in table.output
    refused = run("simulate", spec_file, "--set", "scheduler.algorithm=ray:AsyncHyperBandScheduler")
    assert refused.exit_code == 2
    assert "scheduler.algorithm" in refused.output


def test_a_wrong_token_and_a_missing_service_exit_with_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_TOKEN", "wrong")
    done = run("ls")
    assert (done.exit_code, "token" in done.output) == (1, True)
    monkeypatch.setenv("HPO_URL", "http://127.0.0.1:9")
    done = run("ls")
    assert done.exit_code == 1
    assert "error: the service at http://127.0.0.1:9 can't be reached" in done.output
    assert run("status").exit_code == 1


def test_status_says_what_runs(run: Run) -> None:
    done = run("status", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["parts"]["store"]["ok"]


def test_every_command_and_option_has_a_help_text() -> None:
    import typer

    group: Any = typer.main.get_command(app)
    assert {"up", "down", "status", "serve", "submit", "ls", "show", "watch", "trials", "best", "rm", "doctor"} <= set(
        group.commands
    )
    for name, command in group.commands.items():
        assert command.help, name
        for parameter in command.params:
            assert getattr(parameter, "help", None), (name, parameter.name)


def _python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment}
    )


def test_the_command_starts_without_ray_torch_and_sqlalchemy() -> None:
    code = (
        "import sys\nfrom api.cli import app\n"
        "try: app(['ls'])\nexcept SystemExit: pass\n"
        "bad = {'ray', 'torch', 'sqlalchemy', 'fastapi', 'uvicorn', 'optuna', 'psutil'} & set(sys.modules)\n"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = _python("-c", code, HPO_URL="http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr


def test_ctrl_c_leaves_the_study_running_and_says_so(
    server: str, settings: Settings, store: Store, spec: dict[str, Any]
) -> None:
    store.create_study(specfile.parse(spec))
    process = subprocess.Popen(
        [sys.executable, "-m", "api.cli", "watch", "mine"], cwd=ROOT, text=True, bufsize=1,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "HPO_HOME": str(settings.home), "HPO_URL": server, "PYTHONUNBUFFERED": "1"},
        # A shell starts background jobs with SIGINT ignored, and these tests may be part of one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    with process:
        try:
            assert process.stdout is not None
            assert "created" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "goes on" in errors
    assert store.study("mine").state is StudyState.QUEUED


def test_doctor_finds_what_is_wrong(run: Run, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setattr("api.cli.checks._torch", lambda settings: iter(()))  # loads for seconds
    assert run("doctor").exit_code == 0
    monkeypatch.setenv("HPO_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    done = run("doctor", "--json")
    assert done.exit_code == 1
    wrong = [check for check in json.loads(done.output) if not check["ok"]]
    assert [check["what"] for check in wrong] == ["database"]
    assert wrong[0]["remedy"]


class TestLiveView:
    def view(self, spec: dict[str, Any]) -> LiveView:
        return LiveView(specfile.parse(spec))

    def event(self, kind: str, trial: int | None = None, **data: object) -> Event:
        return Event(study="mine", kind=kind, trial=trial, data=data, recorded_at=0.0)

    def test_it_counts_trials_and_rungs(self, spec: dict[str, Any]) -> None:
        view = self.view(spec)
        for number_of_trial in range(3):
            view.feed(self.event("trial.started", number_of_trial))
            view.feed(self.event("trial.reported", number_of_trial, step=1, value="nan"))
        view.feed(self.event("trial.stopped", 0, step=1, best=3.0, message="[rung] 1"))
        view.feed(self.event("trial.stopped", 1, step=3, rung=3))
        assert view.rung_line() == "1 at step 1, 1 at step 3"
        assert set(view.running) == {2}
        console = Console(width=120, record=True, file=io.StringIO())
        console.print(view)
        text = console.export_text()
        assert "2/8 trials" in text
        assert "[rung] 1" in text

    def test_what_was_said_of_an_earlier_state_isnt_said_of_the_end(self, spec: dict[str, Any]) -> None:
        view = self.view(spec)
        lines = [
            view.feed(self.event(kind, **data))
            for kind, data in [
                ("study.paused", {"message": "paused by ann"}),
                ("study.queued", {"message": "resumed by ann"}),
                ("study.running", {}),
                ("study.succeeded", {}),
            ]
        ]
        assert (lines[-1], view.message) == ("study mine is succeeded", "")

    def test_plain_lines_where_there_is_no_terminal(self, spec: dict[str, Any], capsys: Any) -> None:
        events = [
            self.event("study.running"),
            self.event("unheard.of", 3),
            self.event("trial.failed", 3, message="boom"),
            self.event("study.failed", message="all [b]failed"),
        ]
        view = follow(events, specfile.parse(spec), Console(force_terminal=False))
        assert view.is_final
        assert capsys.readouterr().out.splitlines() == [
            "study mine is running",
            "trial 3 failed at step None: boom",
            "study mine is failed: all [b]failed",
        ]

    def test_figures(self) -> None:
        assert [number(value) for value in (1.23456, 3, None, "nan", float("inf"))] == ["1.235", "3", "–", "nan", "inf"]
