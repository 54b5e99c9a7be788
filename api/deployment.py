"""What may run on a deployment: HPO_TRAINABLES and HPO_PACKAGES, checked at submission and at the start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from hpo.errors import InvalidSpecError, Problem
from hpo.trainables import BUILT_IN


@dataclass(frozen=True, slots=True)
class Rules:
    """Without a list of trainables, all may run."""

    trainables: tuple[str, ...] = ()
    """Patterns of their names."""
    packages: bool = True
    """Whether a study may bring its own code in a working folder."""

    def faults(self, trainable: str | None, package: bool) -> Iterator[Problem]:
        """Why a study may not run here; one without a trainable, whose workers ask, runs nothing here."""
        if trainable is not None and self.trainables and not self._allows(trainable):
            allowed = ", ".join(self.trainables)
            yield Problem(
                "/trainable", f"{trainable!r} may not run on this deployment, which runs {allowed}",
                "name one of these, or ask who runs the service to add it to HPO_TRAINABLES",
            )  # fmt: skip
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

    def check(self, trainable: str | None) -> None:
        """Raises InvalidSpecError for a trainable that may not run."""
        if faults := list(self.faults(trainable, package=False)):
            raise InvalidSpecError(faults)

    def _allows(self, trainable: str) -> bool:
        """By its name, or by the function that a name of ours stands for."""
        names = {trainable, BUILT_IN[trainable].target} if trainable in BUILT_IN else {trainable}
        return any(fnmatchcase(name, pattern) for name in names for pattern in self.trainables)


EVERYTHING = Rules()
