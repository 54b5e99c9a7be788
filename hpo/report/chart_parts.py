"""What charts are made of: colours, traces and axes, as Plotly has them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hpo.report.reading import Record, shown
from hpo.trial import Trial, TrialState

Figure = dict[str, Any]
"""Plain data: `data` and `layout`."""

# Okabe & Ito 2008: told apart with any colour vision, on light and on dark.
BLUE, ORANGE, GREEN, RED, SKY, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#8a8f98"
STATE_COLORS = {
    TrialState.COMPLETED: GREEN, TrialState.STOPPED: SKY, TrialState.FAILED: RED, TrialState.RUNNING: ORANGE,
    TrialState.PAUSED: ORANGE, TrialState.PENDING: GREY,
}  # fmt: skip
SCALES = {
    "type": "buttons", "direction": "right", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom",
    "showactive": False, "pad": {"t": 0, "b": 0, "l": 0, "r": 0}, "bgcolor": "rgba(0,0,0,0)", "borderwidth": 1,
    "buttons": [
        {"label": name, "method": "relayout", "args": [{"yaxis.type": name, "yaxis.autorange": True}]}
        for name in ("linear", "log")
    ],
}  # fmt: skip
"""For people to choose."""
MAX_POINTS = 2000
"""Of a scatter plot. The best ones are among them."""
MAX_LINES = 300
"""Of the parallel coordinates."""
MAX_SLICES = 12
"""Parameters that get a scatter plot each: the most important ones."""


def some_trials(record: Record, most: int) -> list[Trial]:
    """At most so many trials with a finite value, by number: the best, and others spread over the rest."""
    finite = [trial for trial in record.valued if trial.value is not None and math.isfinite(trial.value)]
    numbers = set(shown(finite, record.sign, most))
    return [trial for trial in finite if trial.number in numbers]


def points_of(x: Sequence[Any], y: Sequence[float | None], name: str, color: str, hover: str) -> Figure:
    return {
        "type": "scatter", "mode": "markers", "name": name, "x": list(x),
        "y": [None if value is None else short(value) for value in y],
        "marker": {"color": color, "size": 6, "opacity": 0.75}, "hovertemplate": hover,
    }  # fmt: skip


def steps_of(x: Sequence[float], y: Sequence[float], name: str, hover: str) -> Figure:
    return {
        "type": "scatter", "mode": "lines", "name": name, "x": [short(each) for each in x],
        "y": [short(each) for each in y], "line": {"color": BLUE, "width": 2.5, "shape": "hv"}, "hovertemplate": hover,
    }  # fmt: skip


def figure_of(data: Sequence[Mapping[str, Any]], *, x: str, y: str, log_y: bool = False, height: int = 380) -> Figure:
    layout: dict[str, Any] = {
        "height": height,
        "margin": {"l": 64, "r": 16, "t": 16, "b": 48},
        "xaxis": {"title": {"text": named(x)}, "automargin": True},
        "yaxis": {"title": {"text": named(y)}, "automargin": True},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    }
    if log_y:
        layout["yaxis"]["type"] = "log"
    return {"data": list(data), "layout": layout}


def is_wide(values: Iterable[float]) -> bool:
    """Whether a logarithmic axis shows more: all are positive, and the middle nine tenths span a hundredfold."""
    ordered = sorted(value for value in values if math.isfinite(value))
    if not ordered or ordered[0] <= 0:
        return False
    return ordered[(len(ordered) - 1) * 19 // 20] > 100 * ordered[(len(ordered) - 1) // 20]


def plain(text: str) -> str:
    """A text in which Plotly finds no tags: it takes some, such as <b> and <a>, for markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def named(text: str, most: int = 40) -> str:
    """A name beside an axis: plain, and cut where it is longer than the axis may be."""
    return plain(text if len(text) <= most else f"{text[: most - 1]}…")


def time_unit(seconds: float) -> tuple[float, str]:
    """In what to show times up to so many seconds: the unit's seconds, and its name."""
    return (3600.0, "h") if seconds > 7200 else (60.0, "min") if seconds > 120 else (1.0, "s")


def short(value: float) -> float | int:
    """Six significant digits: more can't be seen, and take room."""
    return value if isinstance(value, int) else float(f"{value:.6g}")
