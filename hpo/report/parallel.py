"""Parallel coordinates: a line a trial, over an axis a parameter (Inselberg 1985, "The plane with parallel
coordinates", The Visual Computer 1).

As lines of a scatter plot: Plotly's own need WebGL, which not every browser has, and print badly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hpo.parameters import CategoricalParameter, FloatParameter, IntParameter, Parameter
from hpo.report.chart_parts import BLUE, GREY, MAX_LINES, SKY, Figure, figure_of, named, some_trials
from hpo.report.reading import Record
from hpo.trial import Trial

MAX_AXES = 10
INACTIVE = -0.12
"""Where a line passes the axis of a parameter that its trial hasn't."""


def parallel(record: Record, order: Sequence[str]) -> Figure | None:
    """The best trials and some others as lines over the parameters, most important first."""
    trials = some_trials(record, MAX_LINES)
    names = [name for name in order if any(name in trial.best_params for trial in trials)][:MAX_AXES]
    if len(trials) < 2 or not names:
        return None
    trials = sorted(trials, key=lambda each: record.sign * (each.value or 0.0))
    parameters = record.spec.parameters
    axes = [_axis(name, parameters[name], [each.best_params.get(name) for each in trials]) for name in names]
    axes.append(_numbers(record.spec.objective.metric, [each.value or 0.0 for each in trials], log=False))
    tenth, half = -(-len(trials) // 10), -(-len(trials) // 2)
    groups = (
        ("best tenth", slice(tenth), BLUE, 2, 1),
        ("better half", slice(tenth, half), SKY, 1, 0.6),
        ("the others", slice(half, None), GREY, 1, 0.35),
    )
    data = [
        _lines(name, axes, trials, part, {"color": color, "width": width}, opacity)
        for name, part, color, width, opacity in reversed(groups)
    ]
    figure = figure_of(data, x="", y="", height=420)
    figure["layout"] |= {
        "shapes": [
            {"type": "line", "x0": place, "x1": place, "y0": 0, "y1": 1, "line": {"color": GREY, "width": 1}}
            for place in range(len(axes))
        ],
        "annotations": [
            {
                "x": place, "y": height, "text": named(text, 16), "showarrow": False, "xanchor": "left", "xshift": 4,
                "font": {"size": 11},
            }
            for place, axis in enumerate(axes)
            for height, text in axis.ticks
        ],
    }  # fmt: skip
    labels = {"tickvals": list(range(len(axes))), "ticktext": [named(axis.name, 18) for axis in axes]}
    figure["layout"]["xaxis"] |= {"showgrid": False, "zeroline": False, "range": [-0.1, len(axes) - 0.6], **labels}
    figure["layout"]["yaxis"] |= {"visible": False, "range": [-0.05, 1.05]}
    if any(INACTIVE in axis.places for axis in axes):
        figure["layout"]["yaxis"] |= {
            "visible": True, "showgrid": False, "zeroline": False, "range": [INACTIVE - 0.05, 1.05], "title": {},
            "tickvals": [INACTIVE], "ticktext": ["inactive"],
        }  # fmt: skip
    return figure


@dataclass(frozen=True, slots=True)
class _Axis:
    """Of parallel coordinates: the places of the trials' values in [0, 1], and what is written beside it."""

    name: str
    places: Sequence[float]
    texts: Sequence[str]
    """Of the trials' values."""
    ticks: Sequence[tuple[float, str]]


def _axis(name: str, parameter: Parameter, values: Sequence[Any]) -> _Axis:
    """Of values of which some may be None: the parameter isn't active there."""
    if None in values:
        inner = _axis(name, parameter, [value for value in values if value is not None])
        places, said = iter(inner.places), iter(inner.texts)
        return _Axis(
            name,
            [INACTIVE if value is None else next(places) for value in values],
            ["inactive" if value is None else next(said) for value in values],
            inner.ticks,
        )
    if isinstance(parameter, FloatParameter | IntParameter):
        return _numbers(name, values, log=bool(getattr(parameter, "log", False)))
    choices = parameter.choices if isinstance(parameter, CategoricalParameter) else (False, True)
    names = [str(choice) for choice in choices]
    step = 1 / max(1, len(names) - 1)
    texts = [str(value) for value in values]
    every = -(-len(names) // 12)
    ticks = [(place * step, text) for place, text in enumerate(names)][::every]
    return _Axis(name, [round(names.index(text) * step, 4) for text in texts], texts, ticks)


def _numbers(name: str, values: Sequence[float], *, log: bool) -> _Axis:
    scaled = [math.log(value) if log else float(value) for value in values]
    low, high = min(scaled), max(scaled)
    places = [round((value - low) / (high - low), 4) if high > low else 0.5 for value in scaled]
    ends = [(0.0, _text(min(values))), (1.0, _text(max(values)))]
    return _Axis(name, places, [_text(value) for value in values], ends if high > low else [(0.5, ends[0][1])])


def _text(value: float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _lines(
    name: str, axes: Sequence[_Axis], trials: Sequence[Trial], part: slice, line: Figure, opacity: float
) -> Figure:
    x: list[int | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for index in range(len(trials))[part]:
        x += [*range(len(axes)), None]
        y += [*(axis.places[index] for axis in axes), None]
        text += [
            *(f"trial {trials[index].number}: {named(axis.name)} = {named(axis.texts[index])}" for axis in axes), "",
        ]  # fmt: skip
    return {
        "type": "scatter", "mode": "lines", "name": name, "x": x, "y": y, "text": text, "line": line,
        "opacity": opacity, "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip
