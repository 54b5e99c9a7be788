"""Workers in Python: three calls, a loop over them, and `hpo work`, against a real service."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import Result

from api.client import Client
from api.client.held import HeldTrial
from api.settings import Settings
from hpo.engine.files import FolderStorage, StorageError
from hpo.errors import ServiceError
from hpo.protocols import Store, TrialStopped
from hpo.steering import Verb
from hpo.trial import FailureCause, Measurement, StudyState, TrialState
from tests.hpo.asking.bench import ask_spec


@pytest.fixture
def study(client: Client, store: Store) -> Iterator[Callable[..., str]]:
    """Submits the study `s` with the changes that it is given; ends it in the end."""

    def submit(**changes: Any) -> str:
        return client.create_study(ask_spec(**changes)).name

    yield submit
    client.cancel("s") if not store.study("s").state.is_final else None
    while not store.study("s").state.is_final:
        time.sleep(0.05)


def learn(params: Any, trial: Any) -> None:
    """As on Ray: it saves every step, and goes on from what it finds."""
    source = trial.resume or trial.inherit
    first = int((source / "step").read_text()) + 1 if source else 1
    for step in range(first, trial.max_steps + 1):
        loss = abs(params["x"] - 0.3) + 1 / step
        trial.report(step, {"loss": loss}, lambda folder, step=step: (folder / "step").write_text(str(step)))


def states(store: Store) -> list[TrialState]:
    return [trial.state for trial in store.trials("s", page_size=1000).items]


def steps(store: Store) -> list[tuple[int, int, int]]:
    rows = [row for _, row in store.history("s", limit=1000) if isinstance(row, Measurement)]
    return [(row.trial, row.generation, row.step) for row in rows]


def test_three_calls_are_a_worker(client: Client, store: Store, study: Callable[..., str]) -> None:
    study()
    while not (found := client.suggest("s", client_id="ann")).done:
        (trial,) = found.trials
        assert client.renew("s", trial).action == "continue"
        client.report("s", trial, 1, {"loss": float(trial.params["x"]), "odd": float("inf")}, checkpoint="one")
        assert client.complete("s", trial).action == "complete"
    assert states(store) == [TrialState.COMPLETED] * 4


def test_the_loop_ends_trials_as_their_blocks_end(
    client: Client, store: Store, study: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    study(budget={"trials": 5}, retry={"errors": 0})
    seen: list[int] = []
    for trial in client.ask("s"):
        seen.append(trial.number)
        try:
            with trial:
                assert (trial.rank, trial.world_size, trial.device, trial.seed > 0) == (0, 1, "cpu", True)
                scratch = trial.workdir
                trial.report(1, {"loss": 1.0})
                if trial.number == 1:
                    raise ValueError("bad luck")
                if trial.number == 2:
                    raise RuntimeError("CUDA out of memory")
                if trial.number == 3:
                    continue  # it has done with it
                trial.report(2, {"loss": 1.0})
                trial.report(3, {"loss": 1.0})
                raise AssertionError("its last report ends the block")
        except (ValueError, RuntimeError):
            pass
        assert not scratch.exists()
    assert seen == [0, 1, 2, 3, 4]
    trials = store.trials("s").items
    assert [trial.state.value for trial in trials] == ["completed", "failed", "failed", "completed", "completed"]
    assert [trial.cause for trial in trials][1:3] == [FailureCause.ERROR, FailureCause.OUT_OF_MEMORY]
    assert (trials[1].message or "").startswith("ValueError: bad luck (test_asking_client.py:")


def test_a_worker_trains_what_would_run_on_ray_with_checkpoints(
    client: Client, store: Store, study: Callable[..., str], tmp_path: Path
) -> None:
    study(
        parameters={"x": {"type": "float", "low": 0, "high": 1, "mutable": True}},
        scheduler={"algorithm": "pbt", "population": 4, "interval_steps": 1, "quantile": 0.5},
        budget={"trials": 4, "steps_per_trial": 5},
    )
    legs = client.work("s", learn, storage=tmp_path)
    assert legs > 4  # members paused, and went on
    assert store.study("s").state is StudyState.SUCCEEDED
    assert store.inheritances("s")
    assert len(steps(store)) == len(set(steps(store)))
    # What the study needs no more is gone.
    kept = {path.parent for path in tmp_path.rglob("step")}
    assert kept == {Path(checkpoint.path) for checkpoint in store.checkpoints("s")}


def test_a_lost_trial_is_left_and_the_next_worker_goes_on_from_its_checkpoint(
    client: Client, store: Store, study: Callable[..., str], tmp_path: Path, server: str, token: str
) -> None:
    study(budget={"trials": 1})
    slow = next(client.ask("s", client_id="slow", storage=tmp_path))
    with slow:
        slow.report(1, {"loss": 1.0}, lambda folder: (folder / "step").write_text("1"))
        client.release("s", slow._trial)  # as if it had been silent
        with Client(server, token) as other:
            quick = next(other.ask("s", client_id="quick", storage=tmp_path))
            with quick:
                assert (quick.resume and (quick.resume / "step").read_text(), quick.step) == ("1", 1)
                with pytest.raises(TrialStopped):
                    slow.report(2, {"loss": 9.0})
                learn(quick.params, quick)
    assert states(store) == [TrialState.COMPLETED]
    assert [step for _, _, step in steps(store)] == [1, 2, 3]


def test_ctrl_c_gives_the_trial_back(client: Client, store: Store, study: Callable[..., str]) -> None:
    study()
    with pytest.raises(KeyboardInterrupt), next(client.ask("s", client_id="ann")) as trial:
        raise KeyboardInterrupt
    found = client.suggest("s", client_id="bob")
    assert found.trials[0].number == trial.number == 0
    requeued = [event for event in store.events("s", limit=100) if event.kind == "trial.requeued"]
    assert [event.data["reason"] for event in requeued] == ["ann gave it back: KeyboardInterrupt"]


def test_a_lease_renews_itself_while_a_step_takes_long(
    client: Client, store: Store, study: Callable[..., str], server: str, token: str
) -> None:
    study(budget={"trials": 1})
    with next(client.ask("s", client_id="ann", lease_seconds=1)) as trial, Client(server, token) as other:
        give_up = time.monotonic() + 2.5
        while time.monotonic() < give_up:
            assert other.suggest("s", client_id="bob").trials == []
            time.sleep(0.2)
        trial.report(1, {"loss": 1.0})
    assert states(store) == [TrialState.COMPLETED]


def test_checkpoints_need_a_storage_that_the_worker_can_read(
    client: Client, study: Callable[..., str], tmp_path: Path
) -> None:
    study()
    with pytest.raises(StorageError, match="--storage FOLDER"):
        client.work("s", learn)
    found = client.suggest("s", client_id="ann").trials[0]
    client.report("s", found, 1, {"loss": 1.0}, checkpoint="/nowhere/1")
    client.release("s", found)
    with pytest.raises(StorageError, match=r"goes on from /nowhere/1.*the same storage"):
        client.work("s", learn, storage=tmp_path)
    assert client.suggest("s", client_id="bob").trials[0].number == 0  # it was given back


elsewhere = pytest.mark.parametrize(
    "reference",
    ["{0}/documents", "{0}/storage", "{0}/storage/other", "{0}/storage/s2", "{0}/storage/s", "{0}/storage/s/",
     "{0}/storage/s/.", "{0}/storage/s//", "{0}/storage/s/../other", "{0}/storage/s/x/../../other", ".", "/"],
)  # fmt: skip
"""What mallory reports as a checkpoint. The worker's storage for the study is `storage/s`."""


@pytest.mark.parametrize("reference", ["{0}/documents", "{0}/storage/s/../other"])
def test_a_worker_goes_on_from_nothing_outside_of_its_storage(
    client: Client, study: Callable[..., str], tmp_path: Path, reference: str
) -> None:
    study(budget={"trials": 1})
    held = client.suggest("s", client_id="mallory").trials[0]
    client.report("s", held, 1, {"loss": 1.0}, checkpoint=reference.format(tmp_path))
    client.release("s", held)
    with pytest.raises(StorageError, match=rf"is not below {tmp_path}/storage/s\); give all workers"):
        client.work("s", learn, storage=tmp_path / "storage")


@elsewhere
def test_a_worker_removes_nothing_outside_of_its_storage(
    client: Client, study: Callable[..., str], tmp_path: Path, reference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[str] = []
    monkeypatch.setattr(FolderStorage, "remove", lambda self, path: removed.append(path))
    study(budget={"trials": 1})
    held = client.suggest("s", client_id="mallory").trials[0]
    client.report("s", held, 1, {"loss": 1.0}, checkpoint=reference.format(tmp_path))
    client.release("s", held)
    held = client.suggest("s", client_id="ann").trials[0].model_copy(update={"resume": None})
    with HeldTrial(client, "s", held, storage=tmp_path / "storage") as trial:
        trial.step = 1
        for step in (2, 3):  # better ones: what came before is needed no more
            trial.report(step, {"loss": 1 / step}, lambda folder: (folder / "step").write_text("1"))
    assert [Path(path).name for path in removed] == ["step-000002"]


def test_what_a_service_that_is_away_has_not_answered_is_sent_again(
    server: str, token: str, store: Store, study: Callable[..., str]
) -> None:
    study(budget={"trials": 1})

    class Failing(httpx.HTTPTransport):
        """Each request is lost once before it is sent, once after it was carried out, and refused once."""

        num_requests = 0

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            self.num_requests += 1
            match self.num_requests % 4:
                case 1:
                    raise httpx.ConnectError("the service is away")
                case 2:
                    super().handle_request(request).read()
                    raise httpx.ReadTimeout("no answer")
                case 3:
                    return httpx.Response(503, headers={"Retry-After": "0"}, json={"detail": "busy"}, request=request)
            return super().handle_request(request)

    with Client(server, token, transport=Failing()) as client:
        for trial in client.ask("s"):
            with trial:
                for step in (1, 2, 3):
                    trial.report(step, {"loss": 1.0})
    assert steps(store) == [(0, 0, 1), (0, 0, 2), (0, 0, 3)]
    with Client("http://127.0.0.1:9", token) as client:
        client.patience_seconds = 0.3
        with pytest.raises(ServiceError, match="can't be reached"):
            client.suggest("s", client_id="ann")


def test_an_error_fails_the_trial_and_the_worker_goes_on(
    client: Client, store: Store, study: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    study()

    def train(params: Any, trial: HeldTrial) -> None:
        trial.report(1, {"loss": 1.0})
        if trial.number == 1:
            raise ZeroDivisionError

    assert client.work("s", train, trials=3) == 3
    assert states(store) == [TrialState.COMPLETED, TrialState.FAILED, TrialState.COMPLETED]
    assert "trial 1 has failed" in caplog.text


# -- the command ------------------------------------------------------------------------------------------
TRAIN = """
import time

def train(params, trial):
    for step in range(1, trial.max_steps + 1):
        trial.report(step, {"loss": params["x"] / step})

def slow(params, trial):
    trial.report(1, {"loss": 1.0})
    print("at it", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own_training.py").write_text(TRAIN)
    return tmp_path


def test_hpo_work_trains_to_the_end(
    run: Callable[..., Result], store: Store, study: Callable[..., str], folder: Path
) -> None:
    study()
    first = run("work", "s", "own_training:train", "--working-dir", folder, "--trials", 1)
    assert (first.exit_code, "trained 1 trials" in first.output) == (0, True), first.output
    rest = run("work", "s", "own_training:train", "--working-dir", folder)
    assert "trained 3 trials; study s is succeeded" in rest.output
    missing = run("work", "s", "own_training:nothing", "--working-dir", folder)
    assert (missing.exit_code, "has no function 'nothing'" in missing.output) == (2, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_hpo_work_gives_its_trial_back_when_it_is_told_to_go(
    client: Client, study: Callable[..., str], settings: Settings, server: str, folder: Path, number: int
) -> None:
    study()
    command = [sys.executable, "-m", "api.cli", "work", "s", "own_training:slow", "--working-dir", str(folder)]
    environment = os.environ | {"HPO_HOME": str(settings.home), "HPO_URL": server}
    worker = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # who is started in the background ignores it
    )  # fmt: skip
    assert worker.stdout is not None
    assert worker.stdout.readline() == "at it\n"
    worker.send_signal(number)
    _, errors = worker.communicate(timeout=60)
    assert (worker.returncode, "goes to the next worker" in errors) == (130, True), errors
    assert [trial.number for trial in client.suggest("s", client_id="bob").trials] == [0]


def test_a_worker_hears_of_a_stop_at_its_next_report(client: Client, store: Store, study: Callable[..., str]) -> None:
    study(budget={"trials": 2, "steps_per_trial": 1_000_000})
    trials = client.ask("s")
    with next(trials) as trial:
        trial.report(1, {"loss": 1.0})
        store.steer("s", Verb.STOP_TRIAL, {"trial": 0}, who="zoe")
        for step in range(2, 1000):
            trial.report(step, {"loss": 1.0})
            time.sleep(0.01)
        raise AssertionError("it goes on and on")
    assert states(store) == [TrialState.STOPPED]
    assert next(trials).number == 1
