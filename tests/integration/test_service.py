"""What a user does, as a user does it: `hpo up`, `hpo submit`, REST, `ray job submit`, `hpo down`; real processes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from integration.conftest import ROOT, Shell

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture
def dashboard(shell: Shell) -> Iterator[httpx.Client]:
    token = (shell.home / "ray_token").read_text().strip()
    url = f"http://127.0.0.1:{shell.environment['HPO_DASHBOARD_PORT']}"
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False) as client:
        yield client


def test_a_function_of_the_users_own_is_tuned_on_the_cluster_without_a_line_changed(shell: Shell, tmp_path: Path):
    folder = tmp_path / "digits"
    shutil.copytree(ROOT / "examples" / "digits", folder)
    done = shell(
        "hpo", "submit", "study.toml", "--working-dir", ".", "--watch", "--set", "budget.trials=6", cwd=folder
    )  # fmt: skip
    assert "study digits is succeeded" in done.stdout
    best = shell.json("hpo", "best", "digits")
    assert best[0]["value"] > 0.9
    assert Path(best[0]["checkpoint"]["path"], "state.pt").is_file()
    assert len(shell.json("hpo", "trials", "digits")) == 6


def test_ray_job_submit_runs_the_same_study_and_the_dashboard_lists_its_job_and_train_runs(
    shell: Shell, dashboard: httpx.Client, tmp_path: Path
):
    exports = dict(
        line.removeprefix("export ").split("=", 1) for line in shell("hpo", "env").stdout.splitlines() if line
    )
    # The checkout without its environment: what git would give.
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    spec = "examples/headlines.toml"
    small = ["--set", "budget.trials=2", "--set", "budget.steps_per_trial=1", "--set", "fixed.mle_epochs=1"]
    small += ["--set", "scheduler.grace_steps=1", "--name", "headlines-job"]
    job = ["ray", "job", "submit", "--submission-id", "by-hand", "--working-dir", ".", "--"]
    done = shell(*job, "hpo", "run", spec, *small, cwd=tmp_path, **exports)
    assert "study headlines-job is succeeded" in done.stdout
    assert shell.json("hpo", "show", "headlines-job")["state"] == "succeeded"
    trials = shell.json("hpo", "trials", "headlines-job")
    assert [trial["step"] for trial in trials] == [1, 1]
    jobs = dashboard.get("/api/jobs/").json()
    assert "by-hand" in {listed["submission_id"] for listed in jobs}
    runs = dashboard.get("/api/train/v2/runs/v1").json()["train_runs"]
    assert any(run["name"].startswith("headlines-job-group-") for run in runs)


def test_bad_input_ends_with_code_2_and_changes_nothing(shell: Shell, tmp_path: Path):
    before = {study["name"] for study in shell.json("hpo", "ls")}
    spec = str(ROOT / "examples" / "headlines.toml")
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"title": "a", "body": "b"}\n{"title": \n', encoding="utf-8")
    empty = tmp_path / "empty.csv"
    empty.touch()
    columns = tmp_path / "columns.csv"
    columns.write_text("headline,body\na,b\n", encoding="utf-8")
    cases = {
        "budget.trails=3": ["budget.trails", "did you mean 'trials'"],
        "parameters.lr.low=1": ["parameters.lr.low", "low must be below high"],
        "parameters.lr.low=0": ["parameters.lr.low", "needs low > 0"],
        "trainable=headline": ["trainable", "did you mean 'headlines'"],
        "objective.metric=perplexty": ["objective.metric", "did you mean 'perplexity'"],
        "search.algorithm=optun": ["search.algorithm", "did you mean 'optuna'"],
        "budget.trials=1000000": ["budget.trials", "at most 100000"],
        f"fixed.data={broken}": ["fixed.data", f"{broken}", "line 2"],
        f"fixed.data={empty}": ["fixed.data", f"{empty}", "empty"],
        f"fixed.data={columns}": ["fixed.data", f"{columns}", "title"],
        "fixed.data=/no/such/file": ["fixed.data", "/no/such/file"],
        "fixed.hiden=3": ["fixed.hiden", "did you mean 'hidden'"],
    }
    for assignment, expected in cases.items():
        for verb in ("submit", "run"):
            if verb == "run" and not assignment.startswith(("fixed.data", "budget.trails")):
                continue  # the same check; a process each takes its time
            done = shell("hpo", verb, spec, "--name", "never", "--set", assignment, code=2)
            for text in expected:
                assert text in done.stderr, f"{assignment}: {done.stderr}"
            assert "Traceback" not in done.stderr
    assert {study["name"] for study in shell.json("hpo", "ls")} == before


def test_a_study_of_the_same_name_is_refused(shell: Shell):
    spec = str(ROOT / "examples" / "digits" / "study.toml")
    arguments = ["--name", "twice", "--working-dir", str(ROOT / "examples" / "digits"), "--set", "budget.trials=1"]
    shell("hpo", "submit", spec, *arguments, "--watch")
    done = shell("hpo", "submit", spec, *arguments, code=2)
    assert "'twice' exists already" in done.stderr


def test_a_study_that_asks_for_gpus_that_are_not_there_waits_and_says_so_with_the_figures(shell: Shell):
    spec = str(ROOT / "examples" / "headlines.toml")
    more = ["--name", "greedy", "--set", "resources.gpus_per_worker=8"]
    shell("hpo", "submit", spec, *more)
    give_up = time.monotonic() + 60
    while (found := shell.json("hpo", "show", "greedy"))["waiting"] is None:
        assert time.monotonic() < give_up, found
        time.sleep(0.5)
    assert found["state"] == "queued"
    assert found["waiting"]["reason"] == "too_large"
    assert "needs 8 GPUs, the cluster has 0" in found["waiting"]["message"]
    assert "needs 8 GPUs, the cluster has 0" in shell("hpo", "ls").stdout
    shell("hpo", "cancel", "greedy")
    assert shell("hpo", "watch", "greedy", code=1).stdout.count("waits: a trial needs 8 GPUs") == 1
