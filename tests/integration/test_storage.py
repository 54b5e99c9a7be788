"""A storage that is full, or that refuses, under a study on a real cluster: the study waits, and loses nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from integration.conftest import ROOT, TRAINABLES, Runner
from s3 import SECRET, Proxy, environment

from cluster import local
from hpo.engine.files import S3Address, open_storage, size_of
from hpo.specfile import parse
from hpo.steering import Verb
from hpo.store import open_store
from hpo.trial import StudyState, TrialState

pytestmark = [pytest.mark.ray, pytest.mark.slow]

FULL_AT = 4
STEPS = 6


@pytest.fixture
def small_disk(runner: Runner) -> Iterator[Path]:
    """The storage of the studies, on a file system of its own of 16 MiB."""
    folder = runner.folder / "storage"
    folder.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small file system can't be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


RAYS_OWN = {"algorithm": "ray:MedianStoppingRule", "options": {"grace_period": STEPS}}


@pytest.mark.parametrize(
    "scheduler", [{"algorithm": "fifo"}, pytest.param(RAYS_OWN, marks=pytest.mark.long)], ids=["ours", "Ray's own"]
)
def test_a_study_on_a_full_disk_pauses_and_goes_on_once_there_is_room(
    runner: Runner, small_disk: Path, scheduler: dict[str, Any]
) -> None:
    filler = small_disk / "filler"
    finished = runner.run(
        trainable="heavy:fills",
        budget={"trials": 2, "steps_per_trial": STEPS},
        scheduler=scheduler,
        fixed={"num_bytes": 1_000_000, "filler": str(filler), "full_at": FULL_AT, "once": str(runner.folder / "once")},
    )
    assert finished.study.state is StudyState.PAUSED, finished.output
    message = finished.study.message or ""
    folder = small_disk / "probe"
    assert message.startswith("trial 0: ")
    assert f"its checkpoint of step {FULL_AT} can't be written to {folder}/" in message
    assert "No space left on device" in message or "bytes are free" in message
    assert message.endswith("; mend that, then resume the study")
    assert [(each.trial, each.step) for each in finished.measurements] == [(0, step) for step in range(1, FULL_AT)]
    assert all(size_of(Path(each.path)) == each.size_bytes for each in finished.checkpoints)
    assert {trial.state for trial in finished.trials} == {TrialState.PAUSED}

    filler.unlink()
    with closing(open_store(runner.url)) as store:
        store.steer("probe", Verb.RESUME, who="ann")
    finished = runner.finish(runner.drive())
    assert finished.study.state is StudyState.SUCCEEDED, finished.output
    assert {trial.state for trial in finished.trials} == {TrialState.COMPLETED}
    steps = Counter((each.trial, each.step) for each in finished.measurements)
    assert steps == {(trial, step): 1 for trial in (0, 1) for step in range(1, STEPS + 1)}
    assert "checkpoint.damaged" not in {getattr(row, "kind", "") for row in finished.history}
    kept = {each.path for each in finished.checkpoints}
    assert {str(path) for path in folder.glob("trials-*/*/*step-*")} == kept, "what no row names is swept"


@pytest.mark.long
def test_a_study_on_s3_waits_while_it_is_refused_and_goes_on_from_what_it_has_stored(
    runner: Runner, s3: Proxy, bucket: str, tmp_path: Path
) -> None:
    """Two ranks, each with its own copy of the checkpoint that they go on from."""
    place = S3Address(bucket, "checkpoints")
    trained = tmp_path / "trained"
    spec = runner.spec(
        budget={"trials": 2, "steps_per_trial": 3},
        fixed={"trained": str(trained)},
        resources={"workers": 2},
    )
    with closing(open_store(runner.url)) as store:
        store.create_study(parse(spec))
    s3.fail(403, only="/step-000002-")
    finished = runner.finish(drive(runner, place, s3))
    assert finished.study.state is StudyState.PAUSED, finished.output
    assert "its checkpoint of step 2 can't be written to s3://" in (finished.study.message or "")
    assert "access is denied" in (finished.study.message or "")

    s3.heal()
    s3.seen.clear()
    with closing(open_store(runner.url)) as store:
        store.steer("probe", Verb.RESUME, who="ann")
    finished = runner.finish(drive(runner, place, s3))
    assert finished.study.state is StudyState.SUCCEEDED, finished.output
    steps = Counter((each.trial, each.step) for each in finished.measurements)
    assert steps == {(trial, step): 1 for trial in (0, 1) for step in (1, 2, 3)}
    assert trained.read_text().split("\n")[:4] == ["0 1", "0 2", "0 2", "0 3"], "it goes on from step 1"
    fetched = [line for line in s3.seen if line.startswith("GET ") and "/step-000001-" in line.partition("?")[0]]
    assert len(fetched) == 2, "each rank has fetched it once"
    stored = {found.path: found.measure() for found in open_storage(place / "probe").found()}
    assert {path: seen.size_bytes for path, seen in stored.items() if seen} == {
        each.path: each.size_bytes for each in finished.checkpoints
    }
    assert list((tmp_path / "home" / "scratch").iterdir()) == [], "nothing local is left"
    assert not (runner.folder / "storage").exists()
    assert SECRET not in finished.output
    assert SECRET.encode() not in (runner.folder / "hpo.db").read_bytes()


def drive(runner: Runner, place: S3Address, s3: Proxy) -> subprocess.Popen[str]:
    """A driver as a Ray job has it: its workers get the variables of the job."""
    job = {
        **environment(s3.url),
        "HPO_HOME": str(runner.folder / "home"),
        "HPO_DATABASE_URL": runner.url,
        "HPO_STORAGE": str(place),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "hpo.driver", "probe", "--lease-seconds", "3", "--wait", "20"],
        env={
            **os.environ,
            **local.environment(runner.head),
            **job,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(TRAINABLES)]),
            "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps({"runtime_env": {"env_vars": job}}),
        },
        cwd=runner.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
