"""The live view of a study. It is fed with events, from wherever they come."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Protocol

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from api.cli.console import Console
from api.cli.render import COLOURS, coloured, number, params
from hpo.spec import StudySpec

_ENDS = {"trial.completed": "completed", "trial.stopped": "stopped", "trial.failed": "failed"}
_STUDY_ENDS = {"study.succeeded": "succeeded", "study.failed": "failed", "study.cancelled": "cancelled"}


class EventLike(Protocol):
    """`hpo.trial.Event`, or what the service sends of it."""

    @property
    def kind(self) -> str: ...
    @property
    def trial(self) -> int | None: ...
    @property
    def data(self) -> Mapping[str, object]: ...
    @property
    def recorded_at(self) -> float: ...


class LiveView:
    """What is known of a study from its events: a bar of trials, the incumbent, and who was stopped where."""

    def __init__(self, spec: StudySpec) -> None:
        self.spec = spec
        self.state = "queued"
        self.message = ""
        self.ended: Counter[str] = Counter()
        self.stopped_at: Counter[str] = Counter()
        """How many trials were stopped at which step."""
        self.running: dict[int, int] = {}
        """Trial -> its last step."""
        self.incumbent: Mapping[str, object] | None = None
        self.incumbent_trial: int | None = None
        self.num_reports = 0
        self._recent: deque[str] = deque(maxlen=8)

    @property
    def is_final(self) -> bool:
        return self.state in _STUDY_ENDS.values()

    def feed(self, event: EventLike) -> str | None:
        """Take in an event; its line, where it is worth one."""
        line = self._take(event)
        if line:
            self._recent.append(line)
        return line

    def _take(self, event: EventLike) -> str | None:
        kind, trial, data = event.kind, event.trial, event.data
        if kind == "incumbent.changed":
            self.incumbent, self.incumbent_trial = data, trial
            return f"new best: {self.best_line()}"
        if kind.startswith("study."):
            return self._study(kind, data)
        if kind == "job.submitted":
            return f"job {data.get('job', '')} submitted"
        if trial is None:
            return None
        if kind in ("trial.started", "trial.requeued", "trial.resumed"):
            self.running.setdefault(trial, 0)
            if kind != "trial.requeued":
                return None
            why = data.get("reason")
            return f"trial {trial} waits: {why}" if why else f"trial {trial} goes on after its workers were lost"
        if kind == "trial.inherited":
            return f"trial {trial} goes on from trial {data.get('donor')}'s weights: {data.get('reason')}"
        if kind == "trial.paused":
            self.running.pop(trial, None)
        elif kind == "trial.reported":
            self.num_reports += 1
            step = data.get("step")
            self.running[trial] = step if isinstance(step, int) else 0
        elif kind in _ENDS:
            return self._end(_ENDS[kind], trial, data)
        return None

    def _study(self, kind: str, data: Mapping[str, object]) -> str | None:
        word = kind.removeprefix("study.")
        if word == "waiting":
            return f"waits: {data.get('message')}"
        if word in COLOURS:
            self.state, self.message = word, str(data.get("message") or "")
        match word:
            case "placed":
                return f"{data.get('groups')} groups of {data.get('workers')} workers are ready"
            case "resumed":
                requeued = data.get("requeued")
                count = len(requeued) if isinstance(requeued, list) else 0
                return f"a new driver goes on with what is recorded; {count} trials are queued again"
            case "diverged":
                return f"{data.get('count')} recorded answers come out otherwise now; the record holds"
            case "exhausted":
                return "every configuration of the space has been tried"
            case "warm_started":
                return f"the searcher has learned from {data.get('taken')} past trials"
        return f"study {self.spec.name} is {word}" + (f": {self.message}" if self.message and self.is_final else "")

    def _end(self, word: str, trial: int, data: Mapping[str, object]) -> str:
        self.running.pop(trial, None)
        self.ended[word] += 1
        where = data.get("rung") or data.get("step")
        if word == "stopped":
            self.stopped_at[str(where)] += 1
        why = data.get("message") or data.get("reason") or ""
        best = f", {self.spec.objective.metric} {number(data['best'])}" if data.get("best") is not None else ""
        return f"trial {trial} {word} at step {where}{best}" + (f": {why}" if why else "")

    def best_line(self) -> str:
        """The incumbent in a line."""
        if self.incumbent is None:
            return "–"
        given = self.incumbent.get("params")
        shown = f": {params(given)}" if isinstance(given, Mapping) else ""
        return (
            f"{self.spec.objective.metric} {number(self.incumbent.get('value'))} by trial {self.incumbent_trial} "
            f"at step {number(self.incumbent.get('step'))}{shown}"
        )

    def rung_line(self) -> str:
        """How many trials were stopped where."""
        places = sorted(self.stopped_at.items(), key=lambda item: (len(item[0]), item[0]))
        return ", ".join(f"{count} at step {place}" for place, count in places) or "none"

    def __rich__(self) -> RenderableType:
        done, total = self.ended.total(), self.spec.budget.trials
        head = Table.grid(padding=(0, 1))
        head.add_row(
            Text.from_markup(f"[bold]{self.spec.name}[/] {coloured(self.state)}"),
            ProgressBar(total=total, completed=done, width=30),
            f"{done}/{total} trials, {len(self.running)} running, {self.num_reports} reports",
        )
        lines = [Text(f"best     {self.best_line()}"), Text(f"stopped  {self.rung_line()}")]
        if self.running:
            shown = sorted(self.running.items())[:12]
            lines.append(Text("running  " + "  ".join(f"{trial}@{step}" for trial, step in shown)))
        return Group(head, *lines, *(Text(f"  {line}", style="dim", overflow="ellipsis", no_wrap=True)
                                     for line in self._recent))  # fmt: skip


def follow(events: Iterable[EventLike], spec: StudySpec, console: Console) -> LiveView:
    """Show events as they come until they end: a live view on a terminal, plain lines elsewhere."""
    view = LiveView(spec)
    if not console.is_terminal:
        for event in events:
            if line := view.feed(event):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
        return view
    with Live(view, console=console, refresh_per_second=4):
        for event in events:
            view.feed(event)
    return view
