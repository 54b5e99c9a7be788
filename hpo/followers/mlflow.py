"""Runs in MLflow: one a run of ours, in an experiment of the study's name.

Parameters, every report by its step, and as tags the study, the trial, its generation, parent and state. How far all is
kept is a tag of the experiment. A run that is told of again is found by its tags, and what it has of a metric and a
step isn't logged once more. So each report is there once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from hpo.followers.sink import Run
from hpo.trial import Measurement, Params, Study

METRICS_AT_ONCE = 1000
"""The most that MLflow takes in one call; of parameters and tags it takes a tenth."""
MAX_PARAM = 6000
STATUS = {"completed": "FINISHED", "inherited": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class MlflowSink:
    """The Sink protocol (`hpo.followers.sink`) over MLflow's client."""

    def __init__(self, study: Study) -> None:
        self._client = MlflowClient(tracking_uri=study.spec.logging.mlflow)
        self._study = study
        # A study of a name that was there before has runs of its own.
        self._key = f"{study.name}:{study.created_at:.3f}"
        self._experiment = ""
        self._ids: dict[Run, str] = {}
        self._known: dict[Run, set[tuple[str, int]]] = {}
        """Metrics and steps that a run had before this sink wrote to it."""
        self._waiting: dict[Run, list[Metric]] = {}
        self._may_be_there = False

    def begin(self) -> int:
        name = self._study.spec.logging.experiment or self._study.name
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                self._experiment = self._client.create_experiment(name)
            except MlflowException:  # another study has just made it
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found is not None:
            self._experiment = found.experiment_id
            if found.lifecycle_stage != "active":
                raise RuntimeError(f"the experiment {name!r} is deleted in MLflow; restore it, or name another one")
        kept = found.tags.get(self._tag) if found is not None else None
        self._may_be_there = found is not None
        return int(kept or 0)

    @property
    def _tag(self) -> str:
        return f"hpo.kept.{self._key}"

    def started(self, run: Run, params: Params, *, parent: int | None, at: float) -> None:
        run_id = self._find(run)
        if run_id is None:
            tags = {
                "hpo.key": self._key, "hpo.study": self._study.name, "hpo.trial": str(run.trial),
                "hpo.generation": str(run.generation), "hpo.run": run.name,
            }  # fmt: skip
            if parent is not None:
                tags["hpo.parent"] = str(parent)
            made = self._client.create_run(
                self._experiment, start_time=round(at * 1000), tags=tags, run_name=run.name
            )  # fmt: skip
            run_id = self._ids[run] = made.info.run_id
            self._known[run] = set()
        told = [Param(_name(name), str(value)[:MAX_PARAM]) for name, value in params.items()]
        for some in _pieces(told, METRICS_AT_ONCE // 10):  # the same parameter again is no error
            self._client.log_batch(run_id, params=some)

    def reported(self, run: Run, measurement: Measurement) -> None:
        at, step = round(measurement.recorded_at * 1000), measurement.step
        self._waiting.setdefault(run, []).extend(
            Metric(_name(name), value, at, step) for name, value in measurement.metrics.items()
        )

    def ended(self, run: Run, state: str, *, message: str | None, at: float) -> None:
        self._flush(run)
        run_id = self._id(run)
        tags = [RunTag("hpo.state", state)] + ([RunTag("hpo.message", message[:MAX_PARAM])] if message else [])
        self._client.log_batch(run_id, tags=tags)
        self._client.set_terminated(run_id, STATUS[state], round(at * 1000))
        del self._ids[run], self._known[run]

    def commit(self, last_id: int) -> None:
        for run in list(self._waiting):
            self._flush(run)
        self._client.set_experiment_tag(self._experiment, self._tag, str(last_id))

    def close(self) -> None:
        """MLflow holds nothing back."""

    def _flush(self, run: Run) -> None:
        waiting = self._waiting.pop(run, [])
        if waiting:
            run_id = self._id(run)
            new = [each for each in waiting if (each.key, each.step) not in self._known[run]]
            for some in _pieces(new, METRICS_AT_ONCE):
                self._client.log_batch(run_id, metrics=some)

    def _id(self, run: Run) -> str:
        run_id = self._ids.get(run) or self._find(run)
        if run_id is None:
            raise RuntimeError(
                f"MLflow has no run {run.name} of study {self._study.name} any more; it was deleted there"
            )
        return run_id

    def _find(self, run: Run) -> str | None:
        """The run that was begun before, by this sink or another one, with what it has."""
        if run in self._ids:
            return self._ids[run]
        if not self._may_be_there:
            return None
        query = f"tags.`hpo.key` = '{self._key}' and tags.`hpo.run` = '{run.name}'"
        found = self._client.search_runs([self._experiment], query, max_results=1)
        if not found:
            return None
        run_id: str = found[0].info.run_id
        self._ids[run] = run_id
        self._known[run] = {
            (name, each.step)
            for name in found[0].data.metrics
            for each in self._client.get_metric_history(run_id, name)
        }
        return run_id


def _name(name: str) -> str:
    """A name that MLflow takes: letters, digits, and _ - . / and spaces."""
    return re.sub(r"[^\w\-./ ]", "_", name, flags=re.ASCII)[:250]


def _pieces(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
