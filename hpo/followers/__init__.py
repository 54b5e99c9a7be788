"""Where a study's reports go beside the store: TensorBoard and MLflow, as `[logging]` of its specification says.

A follower reads the study's history out of the store, in a thread of the driver's process. So it never slows the study,
and whatever befalls it is a line of the history, never the study's end. Each report arrives once, whatever is killed:
`hpo.followers.tensorboard` and `hpo.followers.mlflow` say how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec

from hpo.errors import InvalidSpecError, Problem
from hpo.followers.follower import Follower
from hpo.followers.sink import Sink
from hpo.protocols import Store
from hpo.spec import StudySpec
from hpo.trial import Lease, Study

__all__ = ["check", "following"]

NEEDED = {"tensorboard": "tensorboardX", "mlflow": "mlflow"}
"""The package behind each key of `[logging]`."""


def check(spec: StudySpec) -> None:
    """Raise InvalidSpecError where a package is missing here. The service and its drivers have the same ones."""
    missing = [
        Problem(
            f"/logging/{key}", f"reports are to go to {key}, but the package {NEEDED[key]} isn't installed",
            f"pip install 'hpo[{key}]' where the service and its drivers run, or drop the key",
        )
        for key in sinks_of(spec)
        if find_spec(NEEDED[key]) is None
    ]  # fmt: skip
    if spec.engine == "ask" and sinks_of(spec):
        missing = [
            Problem(
                "/logging", "no driver of ours runs a study with engine = 'ask', so that nothing is logged for it",
                "let the workers of your own log what they report, and drop [logging]",
            )
        ]  # fmt: skip
    if missing:
        raise InvalidSpecError(missing)


def sinks_of(spec: StudySpec) -> list[str]:
    """The keys of `[logging]` that name a place."""
    return [key for key in NEEDED if getattr(spec.logging, key) is not None]


@contextmanager
def following(store: Store, study: Study, lease: Lease, *, lease_seconds: float) -> Iterator[None]:
    """Within it, what the study's driver records is logged as the specification says; at its end the rest is."""
    with ExitStack() as stack:
        for name, make in sinks(study).items():
            stack.enter_context(Follower(store, study, lease, name, make, lease_seconds=lease_seconds))
        yield


def sinks(study: Study) -> dict[str, Callable[[], Sink]]:
    """What makes each sink that the specification asks for. Their packages take seconds to load, so it is done late."""
    made = {"tensorboard": _tensorboard, "mlflow": _mlflow}
    return {key: partial(made[key], study) for key in sinks_of(study.spec)}


def _tensorboard(study: Study) -> Sink:
    from hpo.followers.tensorboard import TensorBoardSink

    return TensorBoardSink(study)


def _mlflow(study: Study) -> Sink:
    from hpo.followers.mlflow import MlflowSink

    return MlflowSink(study)
