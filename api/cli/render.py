"""Tables and figures for people."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from api.cli.console import Console
from api.schemas.studies import StudyAnswer, StudyDetailAnswer
from api.schemas.trials import TrialAnswer
from api.tenants import ProjectAnswer, QuotasBody
from hpo.durations import duration
from hpo.spec import StudySpec

COLOURS = {
    "queued": "yellow", "starting": "yellow", "running": "cyan", "paused": "yellow", "succeeded": "green",
    "failed": "red", "cancelled": "magenta", "completed": "green", "stopped": "blue", "pending": "yellow",
}  # fmt: skip


def show(renderable: object) -> None:
    """Print to standard output: a terminal gets what fits, a pipe whole lines."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=250)
    console.print(renderable, highlight=False)


def number(value: object) -> str:
    """A figure for people: four digits that count."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    return f"{value:.4g}" if isinstance(value, float) and math.isfinite(value) else str(value)


def params(values: Mapping[str, object]) -> str:
    return "  ".join(f"{key}={number(value)}" for key, value in values.items())


def coloured(state: str) -> str:
    """A state of a study or a trial, as markup."""
    return f"[{COLOURS.get(state, 'white')}]{state}[/]"


def trainer(spec: StudySpec) -> str:
    """Who trains: the trainable's name, or workers of the user's own."""
    return spec.trainable or "your own workers"


def study_table(studies: Sequence[StudyAnswer]) -> Table:
    """With a column for what studies wait for, where some do."""
    waits = ["waits for"] if any(study.waiting for study in studies) else []
    columns = ["study", "state", "trainable", "objective", "search", "trials", "age", *waits]
    table = Table(*columns, box=None, pad_edge=False)
    for study in studies:
        spec = study.spec
        table.add_row(
            study.name, coloured(study.state), escape(trainer(spec)),
            f"{spec.objective.direction} {escape(spec.objective.metric)}",
            f"{spec.search.algorithm} + {spec.scheduler.algorithm}", str(spec.budget.trials),
            duration(time.time() - study.created_at),
            *([escape(study.waiting.message) if study.waiting else ""] if waits else []),
        )  # fmt: skip
    return table


def trial_table(trials: Sequence[TrialAnswer], metric: str) -> Table:
    """Trials with their best value so far and the parameters that gave it."""
    table = Table("trial", "state", "step", escape(metric), "at step", "parameters", "why", box=None, pad_edge=False)
    for trial in trials:
        table.add_row(
            str(trial.number), coloured(trial.state), str(trial.step), number(trial.value), number(trial.value_step),
            escape(params(trial.best_params)), escape(trial.message or ""),
        )  # fmt: skip
    return table


def project_table(projects: Sequence[ProjectAnswer]) -> Table:
    table = Table("project", "weight", *QuotasBody.model_fields, box=None, pad_edge=False)
    for project in projects:
        quotas = project.quotas.model_dump().values()
        table.add_row(project.name, number(project.weight), *(number(each) for each in quotas))
    return table


def study_summary(study: StudyDetailAnswer) -> Group:
    """A study in some lines: where it stands, what it has spent, and its best trial."""
    spec, best = study.spec, study.incumbent
    counts = {state.value: count for state, count in study.counts.trials.items() if count}
    ended = study.ended_at or time.time()
    rows = [
        ("study", f"[bold]{study.name}[/]  {coloured(study.state)}"),
        ("objective", escape(f"{spec.objective.direction} {spec.objective.metric}")),
        ("search", f"{spec.search.algorithm} + {spec.scheduler.algorithm}, {escape(trainer(spec))}"),
        ("trials", f"{sum(counts.values())} of {spec.budget.trials}: "
                   + (", ".join(f"{count} {state}" for state, count in counts.items()) or "none yet")),
        ("steps", str(study.counts.steps)),
        ("time", duration(ended - study.started_at) if study.started_at else "not started"),
        ("best", escape(f"{number(best.value)} by trial {best.number} at step {best.value_step}: "
                        + params(best.best_params))
                 if best else "–"),
    ]  # fmt: skip
    rows += [("share", f"{study.share} trials at once")] if study.share is not None else []
    rows += [("waits for", escape(study.waiting.message))] if study.waiting else []
    rows += [("job", study.job)] if study.job else []
    rows += [("message", escape(study.message))] if study.message else []
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, text in rows:
        table.add_row(f"[dim]{name}[/]", text)
    return Group(table)
