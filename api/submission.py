"""From what was sent to a specification that may run: the one place where a study is accepted or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpo import registry, specfile, trainables
from hpo.spec import StudySpec


def accept(data: Any, *, working_dir: Path | None = None) -> StudySpec:
    """The checked specification, or InvalidSpecError with every problem found. Changes nothing.

    `working_dir` is the folder that holds the user's own trainable, if any. Whether the cluster can hold the study is
    found when it is placed, not here.
    """
    spec = specfile.parse(data)
    registry.check(spec)
    trainables.preflight(spec.trainable, spec.parameters, spec.fixed, folder=working_dir)
    return spec
