"""From what was sent to a specification that may run: the one place where a study is accepted or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from api.deployment import EVERYTHING, Rules
from hpo import compatibility, followers, specfile, trainables, warm_start
from hpo.errors import InvalidSpecError, Problem
from hpo.protocols import Store
from hpo.spec import StudySpec, extremes
from hpo.tenancy import DEFAULT_PROJECT


class Accepted(NamedTuple):
    """A specification that may run, and what its trainable says of its data, for people."""

    spec: StudySpec
    note: str | None


def accept(
    data: Any,
    store: Store,
    *,
    project: str = DEFAULT_PROJECT,
    working_dir: Path | None = None,
    rules: Rules = EVERYTHING,
) -> Accepted:
    """Check what was sent, or raise InvalidSpecError with every problem found. Changes nothing.

    `store` holds the past studies that the specification may name, if they are of the same `project`; `working_dir` is
    the folder that holds the user's own trainable, if any; `rules` says what may run on the deployment. Whether the
    cluster can hold the study is found when it is placed, not here.
    """
    spec = specfile.parse(data)
    # Before anything is looked for: who may not run or open it learns nothing of what is there.
    rules.check(spec, working_dir=working_dir)
    compatibility.check(spec)
    followers.check(spec)
    warm_start.check(store, spec, project)
    if spec.trainable is None:
        if working_dir is not None:
            raise InvalidSpecError(
                [
                    Problem(
                        "/engine",
                        "a working folder is given, but engine is 'ask', so that workers "
                        "of your own train, by their own code",
                        "drop the folder (package)",
                    )
                ]
            )
        return Accepted(spec, None)
    searched = {name: extremes(parameter) for name, parameter in spec.parameters.items()}
    note = trainables.preflight(spec.trainable, searched, spec.fixed, folder=working_dir)
    return Accepted(spec, note)
