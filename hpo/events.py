"""Every kind of line in a study's history, and what its data say. The reference is made from it, and a test compares it
with what is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class EventKind:
    """What happened, and the keys of its data: those that are there in some cases only end in `?`."""

    text: str
    data: Mapping[str, str] = field(default_factory=dict)


_MESSAGE = {"message?": "why, for people"}
_ENDED = {
    "step": "the last step reported",
    "best": "the objective's best value, or null",
    "message?": "why, for people",
    "chosen?": "true where the scheduler ended it while it was paused",
}
_RUNG = {
    "rung?": "the rung's step, where it was stopped at one, or null",
    "cutoff?": "what the rung demanded of the objective",
    "value?": "what the trial had there",
}
_WENT_BACK = {
    "step": "the last step reported",
    "from_step": "the step of the checkpoint that it goes on from; 0 for none",
}

KINDS: Mapping[str, EventKind] = {
    "study.created": EventKind("The study was submitted."),
    "study.queued": EventKind("The study waits for a driver again, after `resume`.", _MESSAGE),
    "study.waiting": EventKind(
        "The study could run, and has to wait.",
        {
            "reason": "max_studies, max_trials, max_gpus, priority, share, room or too_large",
            "message": "why, for people",
        },
    ),
    "study.starting": EventKind("A driver is about to start.", _MESSAGE),
    "job.submitted": EventKind(
        "A Ray job for a driver was submitted.", {"attempt": "how many there have been", "job": "its name"}
    ),
    "study.running": EventKind("A driver is at work.", _MESSAGE),
    "study.warm_started": EventKind(
        "The searcher has learned from past studies.",
        {"taken": "how many trials it could learn from", "trials": "their configurations and values"},
    ),
    "study.placed": EventKind("The worker groups are ready.", {"groups": "how many", "workers": "processes in each"}),
    "study.resumed": EventKind(
        "A new driver has replayed what is recorded, and goes on.",
        {
            "trials": "how many have not ended",
            "requeued": "the numbers of those that go on from their last checkpoint",
            "differences": "how many recorded answers come out otherwise now",
            "removed?": "how many checkpoints were removed that no row names",
            "assigned?": "the numbers of those that workers of the user's own hold, and go on with",
        },
    ),
    "study.diverged": EventKind(
        "Some recorded answers come out otherwise now (another version of a library, say). The record holds.",
        {"count": "how many", "first": "the first of them, for people"},
    ),
    "study.changed": EventKind(
        "The study runs by other values from here on.",
        {"changes": "the new values, by dotted name", "who": "who asked for it"},
    ),
    "study.logging_failed": EventKind(
        "Reports can't be logged beside the store. The study goes on, and it is tried again.",
        {"to": "tensorboard or mlflow", "message": "why, for people"},
    ),
    "study.logging_resumed": EventKind(
        "Reports are logged beside the store again.",
        {"to": "tensorboard or mlflow", "message": "for people"},
    ),
    "study.exhausted": EventKind("Every configuration of the space has been tried.", {"trials": "how many there are"}),
    "study.paused": EventKind("The study's workers are given back.", _MESSAGE),
    "study.succeeded": EventKind("The study has ended with a result.", _MESSAGE),
    "study.failed": EventKind("The study has failed.", _MESSAGE),
    "study.cancelled": EventKind("The study was cancelled, or ended without a result.", _MESSAGE),
    "trial.created": EventKind(
        "A configuration was chosen for a new trial.",
        {
            "params": "the configuration",
            "enqueued?": "true where somebody asked for it",
            "retry_of?": "the trial that failed with it, or null",
        },
    ),
    "trial.assigned": EventKind(
        'A worker of the user\'s own has taken the trial (`engine = "ask"`).',
        {
            "client_id": "the worker",
            "lease": "by which it reports",
            "lease_seconds": "how long it may be silent",
            "generation": "the life of the trial's weights that it trains",
        },
    ),
    "trial.started": EventKind(
        "The trial's first report has come.", {"group": "its worker group", "began_at": "when its training began"}
    ),
    "trial.reported": EventKind(
        "The trial has reported a step.",
        {
            "step": "the step",
            "value": "the objective's metric, or null",
            "group": "its worker group",
            "requeued": "how often it has lost its workers",
        },
    ),
    "incumbent.changed": EventKind(
        "The trial is the best so far.",
        {"step": "the step", "value": "the objective's metric", "params": "its configuration"},
    ),
    "trial.paused": EventKind(
        "The trial waits, and its workers train another.",
        {"step": "the last step reported", "reason": "why, for people"},
    ),
    "trial.resumed": EventKind(
        "A paused trial goes on from its own checkpoint.",
        {
            "step": "the last step reported",
            "reason": "why, for people",
            "donor?": "the trial that it was to inherit from, which has no checkpoint",
            "message?": "that, for people",
        },
    ),
    "trial.inherited": EventKind(
        "A paused trial goes on from another's weights.",
        {
            "generation": "the life that begins with it",
            "donor": "whose weights",
            "donor_generation": "which life of the donor's",
            "step": "the step of the donor's checkpoint",
            "params": "the trial's configuration from here on",
            "reason": "why, for people",
        },
    ),
    "trial.requeued": EventKind(
        "The trial has lost its workers and goes on from its last checkpoint, before all others.",
        {**_WENT_BACK, "reason?": "why, for people, where they were taken for other studies"},
    ),
    "trial.retried": EventKind(
        "The trial has raised, and goes on from its last checkpoint (`retry.errors`).",
        {**_WENT_BACK, "cause": "why it had failed", "message": "that, for people", "count": "how often by now"},
    ),
    "trial.enqueued": EventKind(
        "A configuration that somebody asked for waits for workers.",
        {"params": "the configuration", "retry_of": "the trial that failed with it, or null"},
    ),
    "trial.dropped": EventKind(
        "A configuration that somebody asked for is not tried: the study has ended before.",
        {
            "params": "the configuration",
            "retry_of": "the trial that failed with it, or null",
            "message": "why, for people",
        },
    ),
    "trial.completed": EventKind("The trial has had all its steps, or has returned.", _ENDED),
    "trial.stopped": EventKind(
        "The trial was stopped: by the scheduler, by somebody, or with its study.", _ENDED | _RUNG
    ),
    "trial.failed": EventKind("The trial has failed.", {**_ENDED, "cause": "which kind of failure"}),
    "checkpoint.damaged": EventKind(
        "A checkpoint is gone or cut short, and isn't used any more.",
        {"step": "the step that it was saved at", "message": "what is wrong, for people"},
    ),
    "checkpoint.evicted": EventKind(
        "A checkpoint was removed to keep to `budget.disk_gigabytes`.",
        {"step": "the step that it was saved at", "bytes": "its size"},
    ),
    "command.requested": EventKind(
        "Somebody has asked something of the study.",
        {
            "verb": "what: pause, resume, stop, cancel, change, stop_trial or enqueue",
            "who": "who asked",
            "done?": "true where it needed no driver",
            "changes?": "change: the new values",
            "was?": "change: the old values",
            "trial?": "stop_trial: the trial",
            "params?": "enqueue: the configurations",
            "retry_of?": "enqueue: the trials that failed with them",
        },
    ),
    "command.done": EventKind(
        "The driver has done what was asked.",
        {"command": "the id of the line that asked", "verb": "what", "who": "who asked", "outcome": "for people"},
    ),
}
