"""A report as one HTML file: it asks nobody for anything, so it opens anywhere, also in ten years."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib import resources
from string import Template
from typing import Any

import yaml

from hpo import specfile
from hpo.durations import duration
from hpo.report import effort_figures, figures, parallel
from hpo.report.analysis import candidates, failures, rungs, spent
from hpo.report.chart_parts import Figure
from hpo.report.importance import METHOD, Importances, importances
from hpo.report.reading import Record
from hpo.report.summary import CAUSES, number, sentences

TOP = 10
"""Trials in the table of the best."""
MAX_FRONT = 100
"""Trials of a Pareto front in its table."""


def page(record: Record) -> Iterator[str]:
    """The file in pieces, of 5 MB and more: 4.8 MB are Plotly, which draws the charts."""
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

    importance = importances(record.spec, record.trials)
    order = _order(record, importance)
    made: dict[str, Figure] = {}

    def chart(name: str, figure: Figure | None, text: str = "", label: str = "") -> str:
        if figure is None:
            return ""
        made[name] = figure
        note = f"<p class=note>{html.escape(text)}</p>" if text else ""
        return f'{note}<div class=chart id="{name}" role=img aria-label="{html.escape(label or name)}"></div>'

    body = "".join(_sections(record, importance, order, chart))
    style, script = (
        resources.files("hpo.report").joinpath(each).read_text("utf-8") for each in ("page.css", "page.js")
    )
    plotly = get_plotlyjs().replace("</script", "<\\/script")
    head, tail = _FRAME.split("$PLOTLY$")
    study = record.study
    names = {
        "title": html.escape(record.spec.name),
        "style": style,
        "state": html.escape(study.state.value),
        "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "sentences": "".join(f"<p>{html.escape(each)}</p>" for each in sentences(record, importance)),
        "body": body,
        "figures": _embedded(made),
        "script": script,
        "allowed": f"{_digest(plotly)} {_digest(script)}",
    }
    yield Template(head).substitute(names)
    yield plotly
    yield Template(tail).substitute(names)


Chart = Callable[..., str]


def _sections(record: Record, importance: Importances, order: list[str], chart: Chart) -> Iterator[str]:
    metric = record.spec.objective.metric
    yield _section(
        "History",
        chart("history", figures.history(record), label=f"{metric} of each trial, and the best so far")
        + chart(
            "over-time", figures.over_time(record), "The same best value by the clock.", "the best value over time"
        ),
    )
    yield _section("The best trials", _best(record))
    front = chart("pareto", figures.pareto(record), label="the first two objectives of all trials")
    yield _section("Pareto front", front + _front(record) if front else "")
    yield _section(
        "What matters",
        (f"<p class=note>{html.escape(importance.note)}.</p>" if importance.note and record.valued else "")
        + chart("importance", figures.importance(importance), f"{METHOD}.", "importance of the parameters"),
    )
    yield _section(
        "Configurations",
        chart(
            "parallel", parallel.parallel(record, order),
            "A line is a trial, the best are blue. A click on a group's name hides it, two show it alone.",
            "parameters of trials as lines",
        ) + _slices(record, order, chart),
    )  # fmt: skip
    curves = chart(
        "curves", figures.curves(record), "The five best trials in blue, with others for comparison.", "learning curves"
    )
    yield _section("Learning curves", curves)
    levels = chart("rungs", figures.rung_chart(record), label="trials at each rung") + chart(
        "rung-values", figures.rung_values(record), "What each trial had there.", f"{metric} of the trials at each rung"
    )
    yield _section("Rungs", levels + _rungs(record))
    tree = chart(
        "family", figures.family_tree(record),
        "A line is a trial's life; orange, where it went on from another one's weights.", "family tree",
    )  # fmt: skip
    yield _section("Family tree", tree)
    yield _section("Failures", _failures(record))
    cost = chart(
        "effort-over-time", effort_figures.over_time(record), "A trial's steps count when it ends.", "steps over time"
    ) + chart("effort-by-state", effort_figures.by_state(record), label="steps by the state of their trials")
    yield _section("Effort", cost + _effort(record))
    yield _section("Specification", f"<pre>{html.escape(_as_file(record))}</pre>")


def _order(record: Record, importance: Importances) -> list[str]:
    """The parameters, the most important first, then those of which it isn't known."""
    known = [each.parameter for each in importance.items]
    return known + [name for name in record.spec.parameters if name not in known]


def _slices(record: Record, order: list[str], chart: Chart) -> str:
    found = figures.slices(record, order)
    drawn = [chart(f"slice-{place}", figure, label=f"value by {name}") for place, (name, figure) in enumerate(found)]
    return f"<div class=slices>{''.join(drawn)}</div>" if drawn else ""


def _best(record: Record) -> str:
    best = sorted(record.valued, key=lambda each: (record.sign * (each.value or 0.0), each.number))[:TOP]
    names = [name for name in record.spec.parameters if any(name in each.best_params for each in best)]
    rows = [
        [
            each.number,
            each.value,
            each.value_step,
            each.state.value,
            *(each.best_params.get(name, "") for name in names),
        ]
        for each in best
    ]
    return _table(["trial", record.spec.objective.metric, "step", "state", *names], rows)


def _front(record: Record) -> str:
    front = [each for each in candidates(record.spec, record.trials, record.latest) if each.is_best][:MAX_FRONT]
    ordered = sorted(front, key=lambda each: each.values)
    return _table(
        ["trial", *(each.metric for each in record.spec.objectives)], [[each.trial, *each.values] for each in ordered]
    )


def _rungs(record: Record) -> str:
    levels = rungs(record.spec, record.judgements)
    rows = [[each.step, each.trials, each.went_on, each.best, each.median] for each in levels]
    metric = record.spec.objective.metric
    return _table(["step", "trials", "went on", f"best {metric}", f"median {metric}"], rows)


def _failures(record: Record) -> str:
    rows = [
        [CAUSES[each.cause], len(each.trials), ", ".join(map(str, each.trials[:10])), each.message]
        for each in failures(record.trials)
    ]
    return _table(["cause", "trials", "which", "the first one's message"], rows)


def _effort(record: Record) -> str:
    rows = [[each.state.value, each.trials, each.steps, duration(each.seconds)] for each in spent(record)]
    return _table(["state", "trials", "steps", "time of the trials"], rows)


def _as_file(record: Record) -> str:
    return yaml.safe_dump(specfile.to_data(record.spec), sort_keys=False, allow_unicode=True, width=100)


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>" if content else ""


def _table(names: list[str], rows: list[list[Any]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th scope=col>{html.escape(name)}</th>" for name in names)
    lines = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<div class=table><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"


def _cell(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"<td class=number>{number(value)}</td>"
    return f"<td>{html.escape(str(value))}</td>"


@lru_cache(maxsize=4)  # Plotly's takes 20 ms
def _digest(script: str) -> str:
    """By which the page's policy lets a script run, and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _embedded(made: dict[str, Figure]) -> str:
    """JSON that can't end its script element, whatever it says."""
    text = json.dumps(made, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


_FRAME = """<!doctype html>
<html lang=en>
<head>
<meta charset=utf-8>
<meta name=viewport content="width=device-width, initial-scale=1">
<meta http-equiv=Content-Security-Policy
 content="default-src 'none'; script-src $allowed; style-src 'unsafe-inline'; img-src data: blob:;
 base-uri 'none'; form-action 'none'">
<link rel=icon href="data:,">
<title>$title</title>
<style>$style</style>
</head>
<body>
<header><h1>$title</h1><span class="state $state">$state</span></header>
<main>
<div class=summary>$sentences</div>
$body
</main>
<footer>hpo, $made</footer>
<script>$PLOTLY$</script>
<script type="application/json" id=figures>$figures</script>
<script>$script</script>
</body>
</html>
"""
