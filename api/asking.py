"""What workers of the user's own send, and what they get (`docs/ask-and-tell.md`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationInfo, field_validator

from api import examples
from api.schemas.base import Answer
from hpo.asking.answers import Answer as Told
from hpo.asking.answers import Suggestion
from hpo.asking.desk import Suggested
from hpo.spec import MAX_STEPS_PER_TRIAL, ParamValue
from hpo.trial import Action, Checkpoint, FailureCause, StudyState

MAX_MESSAGE = 4000
RETRY_SECONDS = 1.0
"""When to ask again where the search has nothing just now."""
PAUSED_RETRY_SECONDS = 5.0

Metric = Annotated[float, Strict()] | Literal["NaN", "Infinity", "-Infinity"]
LeaseToken = Annotated[str, Field(min_length=1, max_length=100)]
Message = Annotated[str, Field(max_length=MAX_MESSAGE)]


class Body(BaseModel):
    """What a worker sends."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _shown(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class SuggestRequest(Body):
    """A worker asks for trials."""

    model_config = _shown({"client_id": "worker-1"})

    client_id: str = Field(min_length=1, max_length=200, pattern=r"^[ -~]+$")
    """Who asks, as the worker chooses: the same one gets the trials back that it has not ended. One a worker."""
    count: Annotated[int, Strict()] = Field(default=1, ge=1, le=100)
    """How many trials it holds at most."""
    lease_seconds: float = Field(default=60.0, ge=1, le=86_400)
    """How long it may be silent about a trial before the trial goes to another."""


class CheckpointReport(Body):
    """Where a trial's state is kept, in words that the workers understand: hpo never looks there."""

    reference: str = Field(min_length=1, max_length=2000, pattern=r"^[^\x00-\x1f]+$")
    """A path, a URI, a key: another one for every state."""
    size_bytes: Annotated[int, Strict()] = Field(default=0, ge=0, lt=2**53)
    """What it takes where it is kept; 0 where nobody knows."""


class ReportRequest(Body):
    """What a trial has reached at a step."""

    model_config = _shown({"lease": "0f8e…", "step": 3, "metrics": {"loss": 0.41}})

    lease: LeaseToken
    """As it came with the trial."""
    step: Annotated[int, Strict()] = Field(ge=1, le=MAX_STEPS_PER_TRIAL)
    """From 1, at most `max_steps`; some may be left out."""
    metrics: dict[Annotated[str, Field(max_length=200)], Metric] = Field(min_length=1, max_length=1000)
    """The objectives among them."""
    checkpoint: CheckpointReport | None = None
    """What the trial can go on from, if it was saved at this step."""

    @property
    def numbers(self) -> dict[str, float]:
        return {name: float(value) for name, value in self.metrics.items()}

    @property
    def saved(self) -> tuple[str, int] | None:
        return (self.checkpoint.reference, self.checkpoint.size_bytes) if self.checkpoint else None


class RenewRequest(Body):
    """The worker lives."""

    model_config = _shown({"lease": "0f8e…"})

    lease: LeaseToken
    """As it came with the trial."""


class CompleteRequest(Body):
    """The worker has done with a trial before its last step, or has failed at it."""

    model_config = _shown({"lease": "0f8e…", "state": "failed", "cause": "out_of_memory", "message": "needs 90 GB"})

    lease: LeaseToken
    """As it came with the trial."""
    state: Literal["completed", "failed"] = "completed"
    """How it has ended."""
    cause: Literal["error", "out_of_memory", "infeasible"] | None = None
    """Why it failed; `error` unless given. After the first two it is tried again as `retry.errors` says."""
    message: Message = ""
    """Why it failed, for people."""

    @field_validator("cause")
    @classmethod
    def _of_a_failure(cls, cause: str | None, info: ValidationInfo) -> str | None:
        if cause is not None and info.data.get("state") != "failed":
            raise ValueError('a cause is given, but the trial has not failed; send "state": "failed", or no cause')
        return cause

    @property
    def failure(self) -> FailureCause | None:
        return FailureCause(self.cause or "error") if self.state == "failed" else None


class ReleaseRequest(Body):
    """The worker gives a trial back."""

    model_config = _shown({"lease": "0f8e…", "message": "the machine goes down"})

    lease: LeaseToken
    """As it came with the trial."""
    message: Message = ""
    """Why, for people."""


BODIES = (SuggestRequest, ReportRequest, RenewRequest, CompleteRequest, ReleaseRequest)


class ReferenceAnswer(Answer):
    """A checkpoint, as it was reported."""

    trial: int
    """Whose it is."""
    step: int
    """The step that it was saved at."""
    reference: str
    """Where it is kept, in the workers' words."""
    size_bytes: int
    """As the worker has said."""

    @staticmethod
    def of(checkpoint: Checkpoint | None) -> ReferenceAnswer | None:
        if checkpoint is None:
            return None
        return ReferenceAnswer(
            trial=checkpoint.trial,
            step=checkpoint.step,
            reference=checkpoint.path,
            size_bytes=checkpoint.size_bytes,
        )


class SuggestedTrial(Answer):
    """A trial in a worker's hands."""

    number: int
    """By which it is reported."""
    generation: int
    """How often the trial's weights were taken from another's."""
    params: dict[str, ParamValue]
    """What to train with: the configuration, and the study's constants."""
    seed: int
    """For the trial's own randomness, below 2^63."""
    step: int
    """The last step that counts, 0 at first. A worker that begins earlier repeats steps, which count once."""
    max_steps: int
    """The report of this step completes the trial."""
    resume: ReferenceAnswer | None
    """The trial's own last checkpoint, to go on from; null where it reported none."""
    inherit: ReferenceAnswer | None
    """Another trial's checkpoint, whose weights this one begins from."""
    lease: str
    """Goes with all that is said of the trial."""
    lease_seconds: float
    """How long the worker may be silent; whatever it says of the trial begins that anew."""

    @staticmethod
    def of(found: Suggestion) -> SuggestedTrial:
        return SuggestedTrial(
            number=found.trial,
            generation=found.generation,
            params=dict(found.params),
            seed=found.seed,
            step=found.step,
            max_steps=found.max_steps,
            resume=ReferenceAnswer.of(found.resume),
            inherit=ReferenceAnswer.of(found.inherit),
            lease=found.lease,
            lease_seconds=found.lease_seconds,
        )


class SuggestAnswer(Answer):
    """What to train."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.SUGGESTED]})

    trials: list[SuggestedTrial]
    """None where there is nothing just now, or ever."""
    done: bool
    """The study has ended: the worker may leave."""
    state: StudyState
    """How the study stands."""
    message: str | None
    """Why there is nothing, where the study is paused or has ended."""
    retry_after_seconds: float | None
    """When to ask again, where there is nothing just now."""

    @staticmethod
    def of(found: Suggested) -> SuggestAnswer:
        done = found.study.is_final
        pause = PAUSED_RETRY_SECONDS if found.study is StudyState.PAUSED else RETRY_SECONDS
        return SuggestAnswer(
            trials=[SuggestedTrial.of(each) for each in found.trials],
            done=done,
            state=found.study,
            message=found.message or None,
            retry_after_seconds=None if done or found.trials else pause,
        )


class TellAnswer(Answer):
    """What the worker does next."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"action": "continue", "reason": "", "unneeded": ["s3://b/trial-3/step-2"]}]}
    )

    action: Action
    """`continue`: train on. `pause`, `stop`, `complete`: the worker has done with the trial, and asks for the next."""
    reason: str
    """Why, for people."""
    unneeded: list[str]
    """Checkpoints that the study needs no more: they may be removed. Each is said once, to whoever speaks next."""

    @staticmethod
    def of(told: Told) -> TellAnswer:
        return TellAnswer(action=told.action, reason=told.reason, unneeded=list(told.unneeded))
