"""What a study has cost, as charts."""

from __future__ import annotations

from hpo.report.analysis import spent, steps_over_time
from hpo.report.chart_parts import STATE_COLORS, Figure, figure_of, steps_of, time_unit
from hpo.report.reading import Record
from hpo.series import Reducer

MAX_ENDS = 600
"""Points of the line: of 10,000 trials not each end can be seen."""


def over_time(record: Record) -> Figure | None:
    """The steps of the trials that had ended, by the time since the first one began."""
    reducer: Reducer[tuple[float, int, int]] = Reducer(MAX_ENDS)
    for point in steps_over_time(record):
        reducer.add(point[2], point)
    points = reducer.points()
    if len(points) < 2 or not points[-1][2]:
        return None
    size, unit = time_unit(points[-1][0])
    hover = f"%{{y}} steps, %{{customdata}} trials after %{{x:.4g}} {unit}<extra></extra>"
    line = steps_of([each[0] / size for each in points], [each[2] for each in points], "steps", hover)
    line["customdata"] = [each[1] for each in points]
    return figure_of([line], x=f"time since the first trial began, {unit}", y="steps", height=300)


def by_state(record: Record) -> Figure | None:
    """Steps by the state that their trials are in."""
    found = [each for each in reversed(spent(record)) if each.steps]
    if not found:
        return None
    bars = {
        "type": "bar", "orientation": "h", "x": [each.steps for each in found],
        "y": [each.state.value for each in found], "customdata": [each.trials for each in found],
        "marker": {"color": [STATE_COLORS[each.state] for each in found]},
        "hovertemplate": "%{x} steps of %{customdata} trials, %{y}<extra></extra>",
    }  # fmt: skip
    return figure_of([bars], x="steps", y="", height=max(160, 90 + 30 * len(found)))
