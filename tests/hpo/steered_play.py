"""A study that random things happen to, drawn by a seed: reports, failures, commands, and what its engine does."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from hpo import registry
from hpo.ledger import Ledger, Leg
from hpo.replay import Replay
from hpo.spec import StudySpec
from hpo.steering import Command, Verb
from hpo.trial import Action, Event, FailureCause, Row, Trial, TrialState

NUM_GROUPS = 4
ENQUEUED: list[dict[str, Any]] = [
    {"x": 0.25, "lr": 0.01, "kind": "a"}, {"x": 0.75, "lr": 0.5, "kind": "b", "depth": 2},
]  # fmt: skip


class Play:
    """One driver: a ledger, the legs at work, and all that is recorded. Every choice is drawn from `rng`."""

    def __init__(self, spec: StudySpec, rng: random.Random, history: Iterable[Row] = (), now: float = 0.0) -> None:
        self.spec, self.rng, self.now = spec, rng, now
        self.rows: list[Row] = list(history)
        self.working: dict[int, tuple[Leg, int]] = {}
        """The legs that groups are at, with the last step that each has trained."""
        searcher, scheduler = registry.pair(spec)
        self.ledger = Ledger(
            spec, searcher, scheduler, write=self.rows.extend, clock=lambda: self.now, started_at=0.0
        )  # fmt: skip
        self.ledger.orders.on_stop = lambda number: self.working.pop(number, None)
        self.replay = Replay(self.ledger)
        self.replay.run(list(self.rows))

    def heir(self) -> Play:
        """The driver that takes over with what is recorded, and draws the same from here on."""
        rng = random.Random()
        rng.setstate(self.rng.getstate())
        return Play(self.spec, rng, self.rows, self.now)

    def lose_groups(self) -> None:
        """All groups die: what they were training goes on from its last checkpoint."""
        self.working.clear()
        self.ledger._requeued.clear()  # they come again with the rest
        self.ledger.requeue()

    def turn(self, commands: bool = True) -> None:
        """Something happens, unless all is done."""
        if self.ledger.is_done:
            return
        self.now += 1.0
        if commands and self.rng.random() < 0.15:
            self._command()
        elif len(self.working) < NUM_GROUPS and (leg := self.ledger.next()) is not None:
            source = self.ledger.trials[leg.trial].source
            self.working[leg.trial] = leg, source.step if source else 0
        elif self.working:
            self._work(self.rng.choice(sorted(self.working)))

    def _work(self, number: int) -> None:
        """A group reports, fails, or is taken away."""
        leg, step = self.working[number]
        fate = self.rng.random()
        if fate < 0.05 and self.states() & {TrialState.STOPPED, TrialState.COMPLETED}:
            del self.working[number]
            self.ledger.failed(number, FailureCause.ERROR, "bad luck")
        elif fate < 0.1:
            del self.working[number]
            self.ledger.preempt(number)
        else:
            step += 1
            loss = abs(float(leg.params["x"]) - 0.3) + 1 / step + self.rng.gauss(0, 0.02)
            saved = (f"{number}/{leg.generation}/{step}", 1) if self.rng.random() < 0.7 else None
            self.working[number] = leg, step
            action = self.ledger.report(number, step, {"loss": loss}, generation=leg.generation, checkpoint=saved)
            if action is not Action.CONTINUE:
                del self.working[number]

    def _command(self) -> None:
        """Somebody asks for something."""
        rng, ledger = self.rng, self.ledger
        params = ENQUEUED[: rng.randint(1, 2)]
        trials = rng.randint(max(20, ledger.next_number - 2), 40)
        choices: list[tuple[Verb, dict[str, Any]]] = [
            (Verb.ENQUEUE, {"params": params, "retry_of": [None, 0][: len(params)]}),
            (Verb.STOP_TRIAL, {"trial": rng.choice(sorted(ledger.trials) or [0])}),
            (Verb.CHANGE, {"changes": {"budget.trials": trials, "budget.total_steps": rng.choice([None, 5000])}}),
        ]
        verb, data = choices[len(self.commands()) % 3]
        ledger.orders.obey(
            Command(study="s", verb=verb, data=data, who="ann", requested_at=self.now, id=len(self.rows))
        )

    def commands(self) -> list[str]:
        """The verbs of those that were carried out."""
        return [row.data["verb"] for row in self.rows if isinstance(row, Event) and row.kind == "command.done"]

    def states(self) -> set[TrialState]:
        """Those that trials are in."""
        return {trial.state for trial in {row.number: row for row in self.rows if isinstance(row, Trial)}.values()}

    def knows(self) -> dict[str, Any]:
        """What the ledger goes on from."""
        ledger = self.ledger
        return {
            "trials": [(live.trial, live.last, live.best, live.origin) for live in ledger.trials.values()],
            "progress": (ledger.progress.steps, ledger.progress.finish_reason, ledger.progress.error),
            "incumbent": ledger.progress.incumbent,
            "enqueued": list(ledger.orders.enqueued),
            "spec": ledger.spec,
            "next": (ledger.next_number, ledger.is_exhausted, ledger.is_done),
        }
