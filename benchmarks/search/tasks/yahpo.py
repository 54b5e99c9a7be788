"""Surrogates of real training: YAHPO Gym (Pfisterer et al. 2022, arXiv:2109.03670), one network a scenario.

LCBench trains networks, with the epochs as fidelity; rbv2 trains XGBoost and decision trees, with the share of the
training data. The networks are run by onnxruntime on one thread, about 0.14 ms a call. They are deterministic, so what
a configuration shows is its true loss at that fidelity. YAHPO's own package is not needed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search.tasks.protocol import MissingDataError, Params
from hpo.parameters import CategoricalParameter, FloatParameter, IntParameter, Parameter

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "yahpo"
EPOCHS = (2.0, 6.0, 17.0, 52.0)
TRAINING_SHARES = (1 / 27, 1 / 9, 1 / 3, 1.0)
REPLICATIONS = 10
"""rbv2's `repl`: a surrogate's prediction for the mean over that many resamplings."""
NOT_GIVEN = "#na#"


@dataclass(frozen=True, slots=True)
class Scenario:
    """How a scenario's network lays out its inputs and outputs."""

    continuous: tuple[str, ...]
    categorical: tuple[str, ...]
    instance: str
    """The categorical input that names the data set."""
    fidelity: str
    rungs: tuple[float, ...]
    loss_scale: float
    """The accuracy output, times this, is at most 1."""
    accuracy_output: int
    seconds_output: int
    resumable: bool


SCENARIOS = {
    "lcbench": Scenario(
        continuous=(
            "epoch", "batch_size", "learning_rate", "momentum", "weight_decay", "num_layers", "max_units",
            "max_dropout",
        ),
        categorical=("OpenML_task_id",),
        instance="OpenML_task_id",
        fidelity="epoch",
        rungs=EPOCHS,
        loss_scale=0.01,
        accuracy_output=1,
        seconds_output=0,
        resumable=True,
    ),
    "rbv2_xgboost": Scenario(
        continuous=(
            "nrounds", "eta", "gamma", "lambda", "alpha", "subsample", "max_depth", "min_child_weight",
            "colsample_bytree", "colsample_bylevel", "rate_drop", "skip_drop", "trainsize", "repl",
        ),
        categorical=("task_id", "booster", "num.impute.selected.cpo"),
        instance="task_id",
        fidelity="trainsize",
        rungs=TRAINING_SHARES,
        loss_scale=1.0,
        accuracy_output=0,
        seconds_output=6,
        resumable=False,
    ),
    "rbv2_rpart": Scenario(
        continuous=("cp", "maxdepth", "minbucket", "minsplit", "trainsize", "repl"),
        categorical=("task_id", "num.impute.selected.cpo"),
        instance="task_id",
        fidelity="trainsize",
        rungs=TRAINING_SHARES,
        loss_scale=1.0,
        accuracy_output=0,
        seconds_output=6,
        resumable=False,
    ),
}  # fmt: skip


class Surrogate:
    """One instance of a scenario. The loss is 1 − accuracy."""

    best_loss = None
    num_reference_draws = 20_000

    def __init__(self, scenario: str, instance: str) -> None:
        self.name = f"{scenario}-{instance}"
        self._scenario = SCENARIOS[scenario]
        self._session, self._codes, described = _loaded(scenario)
        self._instance = instance
        self.parameters = _parameters(self._scenario, instance, described)
        self.num_rungs = len(self._scenario.rungs)
        self.resumable = self._scenario.resumable
        self._full_seconds = lru_cache(maxsize=100_000)(self._at_last_epoch)

    def evaluate(self, params: Params, rung: int, rng: np.random.Generator) -> tuple[float, float]:
        scenario = self._scenario
        outputs = self._run(params, scenario.rungs[rung])
        loss = 1 - scenario.loss_scale * float(outputs[scenario.accuracy_output])
        if not scenario.resumable:
            return loss, max(0.5, float(outputs[scenario.seconds_output]))
        # An epoch lasts as long as any other, so that the surrogate's error can't make one negative.
        full = self._full_seconds(tuple(params.items()))
        return loss, full * scenario.rungs[rung] / scenario.rungs[-1]

    def true_loss(self, params: Params) -> float:
        outputs = self._run(params, self._scenario.rungs[-1])
        return 1 - self._scenario.loss_scale * float(outputs[self._scenario.accuracy_output])

    def _at_last_epoch(self, items: tuple[tuple[str, Any], ...]) -> float:
        return max(1.0, float(self._run(dict(items), self._scenario.rungs[-1])[self._scenario.seconds_output]))

    def _run(self, params: Params, fidelity: float) -> Sequence[float]:
        scenario = self._scenario
        given = {**params, scenario.fidelity: fidelity, "repl": REPLICATIONS, scenario.instance: self._instance}
        continuous = np.array([[float(given.get(name, 0.0)) for name in scenario.continuous]], np.float32)
        codes = [self._codes[name][str(given.get(name, NOT_GIVEN))] for name in scenario.categorical]
        outputs: Sequence[float] = self._session.run(
            None, {"x_cat": np.array([codes], np.int32), "x_cont": continuous}
        )[0][0]
        return outputs


@lru_cache(maxsize=8)
def _loaded(scenario: str) -> tuple[Any, dict[str, dict[str, int]], Mapping[str, Any]]:
    """The network, the codes of its categories, and its configuration space."""
    folder = Path(os.environ.get("HPO_YAHPO", SHARED)) / scenario
    if not (folder / "model.onnx").is_file():
        raise MissingDataError(f"{folder} has no model.onnx; set HPO_YAHPO to the folder that holds YAHPO's {scenario}")
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingDataError(f"{scenario} needs onnxruntime; pip install 'hpo[bench]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
    codes = json.loads((folder / "encoding.json").read_text(encoding="utf-8"))
    described = json.loads((folder / "config_space.json").read_text(encoding="utf-8"))
    return session, codes, described


def _parameters(scenario: Scenario, instance: str, described: Mapping[str, Any]) -> dict[str, Parameter]:
    """hpo's parameters of the described space, without the fidelity, the instance and the replications."""
    conditions = {
        condition["child"]: {condition["parent"]: tuple(condition.get("values", [condition.get("value")]))}
        for condition in described["conditions"]
    }
    parameters: dict[str, Parameter] = {}
    for each in described["hyperparameters"]:
        name, when = each["name"], conditions.get(each["name"], {})
        if name == scenario.instance and instance not in each["choices"]:
            raise ValueError(f"{instance!r} is no instance; it is one of {', '.join(each['choices'])}")
        if name in (scenario.instance, scenario.fidelity, "repl"):
            continue
        if each["type"] == "categorical":
            parameters[name] = CategoricalParameter(type="categorical", choices=tuple(each["choices"]), when=when)
        elif each["type"] == "uniform_int":
            bounds = {"low": each["lower"], "high": each["upper"], "log": each["log"]}
            parameters[name] = IntParameter(type="int", when=when, **bounds)
        else:
            bounds = {"low": each["lower"], "high": each["upper"], "log": each["log"]}
            parameters[name] = FloatParameter(type="float", when=when, **bounds)
    return parameters
