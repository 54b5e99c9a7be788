"""What may run on a deployment, and on what: HPO_TRAINABLES, HPO_PACKAGES and the settings of `hpo.places`, checked at
submission and at the start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from hpo.errors import InvalidSpecError, Problem
from hpo.places import ANYWHERE, Places
from hpo.spec import StudySpec
from hpo.trainables import BUILT_IN


@dataclass(frozen=True, slots=True)
class Rules:
    """Without a list of trainables, all may run."""

    trainables: tuple[str, ...] = ()
    """Patterns of their names."""
    packages: bool = True
    """Whether a study may bring its own code in a working folder."""
    places: Places = ANYWHERE
    """Which files and addresses a specification may name."""

    def faults(self, spec: StudySpec, *, package: bool, working_dir: Path | None = None) -> Iterator[Problem]:
        """Why a study may not run here; one without a trainable, whose workers ask, runs nothing here."""
        trainable = spec.trainable
        if trainable is not None and self.trainables and not self._allows(trainable):
            allowed = ", ".join(self.trainables)
            yield Problem(
                "/trainable", f"{trainable!r} may not run on this deployment, which runs {allowed}",
                "name one of these, or ask who runs the service to add it to HPO_TRAINABLES",
            )  # fmt: skip
        else:  # what another one's parameters mean is nobody's concern
            yield from self.places.faults(spec, working_dir=working_dir)
        if package and (fault := self.package_fault()) is not None:
            yield fault

    def package_fault(self) -> Problem | None:
        """Why working folders are refused, at the field that names one; None where they are taken."""
        if self.packages:
            return None
        return Problem(
            "/package", "this deployment takes no working folders",
            "name a trainable that is installed there, or ask who runs the service to set HPO_PACKAGES=on",
        )  # fmt: skip

    def check(self, spec: StudySpec, *, working_dir: Path | None = None) -> None:
        """Raises InvalidSpecError for a study that may not run; `working_dir` holds its own trainable, if any."""
        if faults := list(self.faults(spec, package=False, working_dir=working_dir)):
            raise InvalidSpecError(faults)

    def _allows(self, trainable: str) -> bool:
        """By its name, or by the function that a name of ours stands for."""
        names = {trainable, BUILT_IN[trainable].target} if trainable in BUILT_IN else {trainable}
        return any(fnmatchcase(name, pattern) for name in names for pattern in self.trainables)


EVERYTHING = Rules()
