"""Charts as Plotly figures: plain data, to be drawn in a browser. Fonts and the colours of axes are the page's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpo.parameters import FloatParameter, IntParameter
from hpo.report.analysis import best_so_far, candidates, effort, judged, rungs
from hpo.report.chart_parts import (
    BLUE,
    GREY,
    MAX_LINES,
    MAX_POINTS,
    MAX_SLICES,
    ORANGE,
    SCALES,
    SKY,
    STATE_COLORS,
    Figure,
    figure_of,
    is_wide,
    named,
    plain,
    points_of,
    short,
    some_trials,
    steps_of,
    time_unit,
)
from hpo.report.importance import Importances
from hpo.report.reading import Judgement, Record
from hpo.table import ParamValue
from hpo.trial import TrialState


def history(record: Record) -> Figure | None:
    """Each trial's value by its number, and the best so far."""
    trials = some_trials(record, MAX_POINTS)
    if not trials:
        return None
    metric = record.spec.objective.metric
    data = [
        points_of(
            [each.number for each in trials if each.state is state],
            [each.value for each in trials if each.state is state],
            state.value, STATE_COLORS[state], f"trial %{{x}}: %{{y:.5g}}<extra>{state.value}</extra>",
        )
        for state in TrialState
        if any(each.state is state for each in trials)
    ]  # fmt: skip
    best = best_so_far(record)
    numbers = [number for number, _ in best] + [record.trials[-1].number]
    values = [value for _, value in best] + [best[-1][1]] if best else []
    data.append(steps_of(numbers, values, "best so far", "best of the first %{x}: %{y:.5g}<extra></extra>"))
    figure = figure_of(data, x="trial", y=metric, log_y=is_wide(value for each in trials if (value := each.value)))
    if all((each.value or 0) > 0 for each in trials):
        figure["layout"]["updatemenus"] = [SCALES]
    return figure


def over_time(record: Record) -> Figure | None:
    """The best value by the time since the study's start."""
    start = record.study.started_at or record.study.created_at
    rows = [row for row in record.incumbents if isinstance(row.get("value"), int | float)]
    if not rows:
        return None
    cost = effort(record)
    hours = [max(0.0, row["recorded_at"] - start) for row in rows]
    values = [float(row["value"]) for row in rows]
    if cost.wall_seconds is not None and cost.wall_seconds > hours[-1]:
        hours, values = [*hours, cost.wall_seconds], [*values, values[-1]]
    size, unit = time_unit(hours[-1])
    line = steps_of([each / size for each in hours], values, "best so far", "%{y:.5g} after %{x:.4g}<extra></extra>")
    return figure_of([line], x=f"time since the start, {unit}", y=record.spec.objective.metric, log_y=is_wide(values))


def importance(found: Importances) -> Figure | None:
    if not found.items:
        return None
    items = list(reversed(found.items[:20]))
    bars = {
        "type": "bar", "orientation": "h", "x": [round(each.share, 4) for each in items],
        "y": [plain(each.parameter) for each in items], "marker": {"color": BLUE},
        "hovertemplate": "%{y}: %{x:.0%}<extra></extra>",
    }  # fmt: skip
    figure = figure_of([bars], x="share of the importance", y="", height=max(200, 60 + 26 * len(items)))
    figure["layout"]["xaxis"]["tickformat"] = ".0%"
    return figure


def slices(record: Record, order: Sequence[str]) -> list[tuple[str, Figure]]:
    """The value by each parameter; colour says when the trial came, light first."""
    found: list[tuple[str, Figure]] = []
    sample = some_trials(record, MAX_POINTS // 2)
    log_y = is_wide(trial.value for trial in sample if trial.value)
    for name in order[:MAX_SLICES]:
        trials = [trial for trial in sample if name in trial.best_params]
        if not trials:
            continue
        parameter = record.spec.parameters[name]
        points = points_of(
            [_drawn(each.best_params[name]) for each in trials], [each.value for each in trials], name, BLUE,
            f"{named(name)} = %{{x}}: %{{y:.5g}}<br>trial %{{customdata}}<extra></extra>",
        )  # fmt: skip
        points["customdata"] = [each.number for each in trials]
        points["marker"] |= {"color": [each.number for each in trials], "colorscale": [[0, SKY], [1, "#004a75"]]}
        figure = figure_of([points], x=name, y=record.spec.objective.metric, log_y=log_y, height=280)
        if not isinstance(parameter, FloatParameter | IntParameter):
            figure["layout"]["xaxis"]["type"] = "category"
        elif parameter.log:
            figure["layout"]["xaxis"] |= {"type": "log", "exponentformat": "power"}
            if parameter.high >= 100 * parameter.low:
                figure["layout"]["xaxis"]["dtick"] = 1
        found.append((name, figure))
    return found


def curves(record: Record) -> Figure | None:
    """What the best trials and some others reported, step by step."""
    drawn = [each for each in record.curves if each.points]
    if not drawn:
        return None
    best = {trial.number for trial in sorted(record.valued, key=lambda each: record.sign * (each.value or 0.0))[:5]}
    data = [
        {
            "type": "scatter", "mode": "lines+markers" if len(each.points) == 1 else "lines",
            "name": f"trial {each.trial}",
            "x": [step for step, _ in each.points], "y": [short(value) for _, value in each.points],
            "line": {"color": BLUE if each.trial in best else GREY, "width": 2 if each.trial in best else 1},
            "opacity": 1 if each.trial in best else 0.45,
            "hovertemplate": f"trial {each.trial}, step %{{x}}: %{{y:.5g}}<extra></extra>",
        }
        for each in sorted(drawn, key=lambda each: each.trial in best)
    ]  # fmt: skip
    log_y = is_wide(value for each in drawn for _, value in each.points if value)
    figure = figure_of(data, x="step", y=record.spec.objective.metric, log_y=log_y)
    figure["layout"]["showlegend"] = False
    return figure


def rung_chart(record: Record) -> Figure | None:
    """How many trials reached each rung, and how many went on from there."""
    levels = rungs(record.spec, record.judgements)
    if not levels:
        return None
    x = [f"step {each.step}" for each in levels]
    hover = "%{x}: %{y} trials<extra>%{fullData.name}</extra>"
    data = [
        {"type": "bar", "name": "went on", "x": x, "y": [each.went_on for each in levels], "marker": {"color": BLUE}},
        {
            "type": "bar", "name": "ended there, or wait", "x": x, "y": [each.trials - each.went_on for each in levels],
            "marker": {"color": GREY},
        },
    ]  # fmt: skip
    figure = figure_of([{**each, "hovertemplate": hover} for each in data], x="rung", y="trials", height=320)
    figure["layout"]["barmode"] = "stack"
    return figure


def rung_values(record: Record) -> Figure | None:
    """What each trial had at each rung, and whether it went on; at most MAX_POINTS, evenly over each rung's values."""
    found = judged(record.judgements)
    if not found:
        return None
    by_step: dict[int, list[tuple[Judgement, bool]]] = {}
    for pair in found:
        by_step.setdefault(pair[0].rung, []).append(pair)
    steps = sorted(by_step)
    most = max(10, MAX_POINTS // len(steps))
    groups: dict[bool, list[tuple[float, Judgement]]] = {True: [], False: []}
    for place, step in enumerate(steps):
        here = sorted(by_step[step], key=lambda pair: pair[0].value)
        for each, on in here[:: -(-len(here) // most)]:
            # By the golden ratio no two trials near in number lie on each other.
            groups[on].append((place + 0.6 * (each.trial * 0.618034 % 1 - 0.5), each))
    data = []
    for on, name, color in ((False, "ended there, or wait", GREY), (True, "went on", BLUE)):
        points = points_of(
            [round(place, 3) for place, _ in groups[on]], [each.value for _, each in groups[on]], name, color,
            f"trial %{{customdata}} {name}: %{{y:.5g}}<extra></extra>",
        )  # fmt: skip
        points["customdata"] = [each.trial for _, each in groups[on]]
        data.append(points)
    wide = is_wide(each.value for each, _ in found)
    figure = figure_of(data, x="rung", y=record.spec.objective.metric, log_y=wide, height=340)
    ticks = {"tickvals": list(range(len(steps))), "ticktext": [f"step {step}" for step in steps]}
    figure["layout"]["xaxis"] |= {"showgrid": False, "zeroline": False, **ticks}
    return figure


def pareto(record: Record) -> Figure | None:
    """The first two objectives of all trials; those on the front of all objectives stand out."""
    if len(record.spec.objectives) < 2:
        return None
    found = candidates(record.spec, record.trials, record.latest)
    front = [each for each in found if each.is_best]
    rest = [each for each in found if not each.is_best]
    if not front:
        return None
    data = []
    for name, some, color in (("dominated", rest[:MAX_POINTS], GREY), ("Pareto front", front, ORANGE)):
        points = points_of(
            [short(each.values[0]) for each in some], [each.values[1] for each in some], name, color,
            "trial %{customdata}: %{x:.5g}, %{y:.5g}<extra></extra>",
        )  # fmt: skip
        points["customdata"] = [each.trial for each in some]
        data.append(points)
    x, y = record.spec.objectives[:2]
    return figure_of(data, x=f"{x.metric} ({x.direction})", y=f"{y.metric} ({y.direction})")


def family_tree(record: Record) -> Figure | None:
    """Each trial's life as a line over the steps, and an arrow from the donor wherever it took over weights."""
    if not record.inheritances:
        return None
    ends = {trial.number: trial.step for trial in record.trials}
    members = sorted({each.trial for each in record.inheritances} | {each.donor for each in record.inheritances})
    row = {number: place for place, number in enumerate(members)}
    lives: dict[str, list[Any]] = {"x": [], "y": []}
    for number in members:
        lives["x"] += [0, ends.get(number, 0), None]
        lives["y"] += [row[number], row[number], None]
    edges: dict[str, list[Any]] = {"x": [], "y": []}
    for each in record.inheritances[-MAX_LINES:]:
        edges["x"] += [each.step, each.step, None]
        edges["y"] += [row[each.donor], row[each.trial], None]
    taken = record.inheritances[-MAX_LINES:]
    heads = points_of(
        [each.step for each in taken],
        [row[each.trial] for each in taken],
        "took over",
        ORANGE,
        "%{text}<extra></extra>",
    )
    heads["text"] = [f"trial {each.trial} took over trial {each.donor} at step {each.step}" for each in taken]
    heads["marker"]["size"] = 7
    line = {"type": "scatter", "mode": "lines", "hoverinfo": "skip"}
    data = [
        {**line, **lives, "name": "trained", "line": {"color": GREY, "width": 2}},
        {**line, **edges, "name": "weights", "line": {"color": ORANGE, "width": 1}},
        heads,
    ]
    figure = figure_of(data, x="step", y="trial", height=max(240, min(900, 80 + 18 * len(members))))
    every = max(1, len(members) // 40)
    figure["layout"]["yaxis"] |= {
        "tickvals": list(range(0, len(members), every)), "ticktext": [str(each) for each in members[::every]],
    }  # fmt: skip
    return figure


def _drawn(value: ParamValue) -> ParamValue:
    """JSON's true and false would be numbers to Plotly."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        return plain(value)
    return short(value) if isinstance(value, float) else value
