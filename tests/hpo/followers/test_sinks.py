"""TensorBoard and MLflow, read back with their own readers: every report once, whatever was killed in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpo.followers import follower as follower_module
from hpo.followers import following, sinks
from hpo.store.memory import MemoryStore
from hpo.trial import Lease, Study
from tests.hpo.followers.logged import AT, FIRST, HISTORY, LATER, POINTS, event, plain, report, running

# Of MLflow and TensorBoard themselves, and of what they import.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(600)]

Points = dict[tuple[str, str], list[tuple[int, float | str]]]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "POLL_SECONDS", 0.05)


def tensorboard_points(study: Study) -> Points:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found: Points = {}
    for folder in Path(str(study.spec.logging.tensorboard)).glob("mine-*/trial-*"):
        reader = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        reader.Reload()
        for tag in reader.Tags()["scalars"]:
            found[folder.name, tag] = [(each.step, plain(each.value)) for each in reader.Scalars(tag)]
    return found


def mlflow_runs(study: Study) -> dict[str, Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=study.spec.logging.mlflow)
    experiment = client.get_experiment_by_name(study.spec.logging.experiment or study.name)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len({run.info.run_name for run in runs}) == len(runs)
    return {run.info.run_name: run for run in runs}


def mlflow_points(study: Study) -> Points:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=study.spec.logging.mlflow)
    found: Points = {}
    for name, run in mlflow_runs(study).items():
        for metric in run.data.metrics:
            history = client.get_metric_history(run.info.run_id, metric)
            found[name, metric] = sorted(((each.step, plain(each.value)) for each in history), key=lambda each: each[0])
    return found


READERS: dict[str, Callable[[Study], Points]] = {"tensorboard": tensorboard_points, "mlflow": mlflow_points}


@pytest.fixture(params=READERS)
def logged(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[MemoryStore, Study, Lease, Any]:
    """A study that is logged, and what reads its log."""
    target = {"tensorboard": str(tmp_path / "logs"), "mlflow": f"sqlite:///{tmp_path / 'mlflow.db'}"}[request.param]
    return *running(tmp_path, **{request.param: target}), READERS[request.param]


def test_every_report_is_logged(logged: tuple[MemoryStore, Study, Lease, Any]) -> None:
    store, study, lease, points = logged
    with following(store, study, lease, lease_seconds=60):
        for row in HISTORY:
            store.write(lease, [row])
    assert points(study) == POINTS
    assert [row.kind for row in store.events("mine", limit=1000) if "logging" in row.kind] == []


# MLflow's take seconds each: they are at a report, after an end, and after an inheritance.
KILLS = [("tensorboard", told) for told in range(1, len(HISTORY))] + [("mlflow", told) for told in (4, 7, 11)]


@pytest.mark.parametrize(("logged", "told"), KILLS, indirect=["logged"])
def test_a_driver_that_died_before_it_had_kept_what_it_told_doubles_nothing(
    told: int, logged: tuple[MemoryStore, Study, Lease, Any]
) -> None:
    """It has told `told` rows; only the first half of them was kept."""
    store, study, lease, points = logged
    store.write(lease, HISTORY)
    history = store.history("mine")
    first_id = history[-1][0] - len(HISTORY) + 1
    [make] = sinks(study).values()
    teller = follower_module.Follower(store, study, lease, "test", make, lease_seconds=60)
    sink = make()
    assert sink.begin() == 0
    for number, row in [each for each in history if first_id <= each[0] < first_id + told]:
        teller._tell(sink, row)
        if number == first_id + told // 2:
            sink.commit(number)
    if points is mlflow_points:  # it had sent what it was told
        for run in list(sink._waiting):  # type: ignore[attr-defined]
            sink._flush(run)  # type: ignore[attr-defined]
    sink.close()
    with following(store, study, lease, lease_seconds=60):
        pass
    assert points(study) == POINTS


def test_a_driver_that_goes_on_where_all_was_kept_adds_what_is_new(
    logged: tuple[MemoryStore, Study, Lease, Any],
) -> None:
    store, study, lease, points = logged
    for part in (HISTORY[:5], HISTORY[5:10], HISTORY[10:]):
        store.write(lease, part)
        with following(store, study, lease, lease_seconds=60):
            pass
    assert points(study) == POINTS


def test_hparams_shows_each_configuration_with_its_end(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    store, study, lease = running(tmp_path, tensorboard=str(tmp_path))
    store.write(lease, HISTORY)
    with following(store, study, lease, lease_seconds=60):
        pass
    found = {}
    for folder in tmp_path.glob("mine-*/trial-*"):
        reader = EventAccumulator(str(folder))
        reader.Reload()
        content = reader.SummaryMetadata
        data = [
            plugin_data_pb2.HParamsPluginData.FromString(content(f"_hparams_/{tag}").plugin_data.content)
            for tag in ("experiment", "session_start_info", "session_end_info")
        ]
        params = {
            name: getattr(value, str(value.WhichOneof("kind")))
            for name, value in data[1].session_start_info.hparams.items()
        }
        metrics = [each.name.tag for each in data[0].experiment.metric_infos]
        found[folder.name] = params, metrics, data[2].session_end_info.status
    success, failure = 1, 2
    assert found == {
        "trial-00000": (FIRST, ["loss"], success),
        "trial-00001": (LATER, ["loss"], success),
        "trial-00001.1": (FIRST, ["loss"], failure),
        "trial-00002": (LATER, ["loss"], success),
    }


def test_mlflow_has_parameters_tags_times_and_ends(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    store, study, lease = running(tmp_path, mlflow=uri, experiment="all of mine")
    store.write(lease, [*HISTORY, event("trial.created", 3, params=FIRST), report(3, 1, loss=1.0, **{"odd:%": 2.0})])
    with following(store, study, lease, lease_seconds=60):
        pass
    runs = mlflow_runs(study)
    assert {name: run.info.status for name, run in runs.items()} == {
        "trial-00000": "FINISHED", "trial-00001": "FINISHED", "trial-00001.1": "FAILED", "trial-00002": "KILLED",
        "trial-00003": "RUNNING",
    }  # fmt: skip
    assert runs["trial-00000"].data.params == {name: str(value) for name, value in FIRST.items()}
    assert runs["trial-00003"].data.metrics == {"loss": 1.0, "odd__": 2.0}
    later = runs["trial-00001.1"]
    tags = {name.removeprefix("hpo."): value for name, value in later.data.tags.items() if name.startswith("hpo.")}
    del tags["key"]
    assert tags == {
        "study": "mine", "trial": "1", "generation": "1", "parent": "0", "run": "trial-00001.1", "state": "failed",
        "message": "boom",
    }  # fmt: skip
    assert (later.info.start_time, later.info.end_time) == (round(AT * 1000), round(AT * 1000))


def test_a_study_of_a_name_that_was_there_before_has_a_log_of_its_own(
    logged: tuple[MemoryStore, Study, Lease, Any],
) -> None:
    import dataclasses

    store, study, lease, points = logged
    store.write(lease, HISTORY[:3])
    with following(store, study, lease, lease_seconds=60):
        pass
    other = dataclasses.replace(study, created_at=study.created_at + 100)
    [make] = sinks(other).values()
    assert make().begin() == 0
    assert points(study) == {("trial-00000", "loss"): [(1, 3.0)], ("trial-00000", "acc"): [(1, 0.25)]}
