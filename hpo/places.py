"""Which files and addresses a specification may name: HPO_DATA_FOLDERS and HPO_LOGGING_TARGETS.

The service checks them when a study is submitted and when it is started, and the driver once more where the files are.
What is refused is refused by its name, before anything is opened: so it makes no difference whether it is there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hpo.errors import InvalidSpecError, Problem
from hpo.parameters import CategoricalParameter
from hpo.spec import StudySpec
from hpo.trainables import files_of

DATA_FOLDERS, LOGGING_TARGETS = "HPO_DATA_FOLDERS", "HPO_LOGGING_TARGETS"
OFF = "off"


def folders(text: str) -> tuple[Path, ...] | None:
    """Folders with os.pathsep between them, none for `off`, or None (any) for an empty text. Raises ValueError for
    what names none."""
    if not text.strip() or text.strip() == OFF:
        return () if text.strip() else None
    found = tuple(Path(each.strip()).expanduser().absolute() for each in text.split(os.pathsep) if each.strip())
    if not found:
        raise ValueError(
            f"{DATA_FOLDERS} is {text!r}, which names none; write folders with {os.pathsep!r} between them, or {OFF}"
        )
    return found


def targets(text: str) -> tuple[str, ...] | None:
    """Folders and addresses with commas between them, none for `off`, or None (any) for an empty text. Raises
    ValueError for what is neither."""
    if not text.strip() or text.strip() == OFF:
        return () if text.strip() else None
    found = tuple(each.strip().rstrip("/") or "/" for each in text.split(",") if each.strip())
    for each in found or (text,):
        if not each.startswith("/") and "://" not in each:
            raise ValueError(
                f"{LOGGING_TARGETS} has {each!r}, neither a folder from / on nor an address; write, for example, "
                f"/data/tensorboard, http://mlflow:5000, or {OFF}"
            )
    return found


@dataclass(frozen=True, slots=True)
class Places:
    """None is any; nothing in a list allows none."""

    data_folders: tuple[Path, ...] | None = None
    """Where the files lie that a trainable reads."""
    logging_targets: tuple[str, ...] | None = None
    """Folders for TensorBoard, and MLflow's servers and databases."""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """As a driver is told. Raises ValueError."""
        return cls(folders(environment.get(DATA_FOLDERS, "")), targets(environment.get(LOGGING_TARGETS, "")))

    def environment(self) -> dict[str, str]:
        """What tells a driver; `of` reads it."""
        found = {}
        if self.data_folders is not None:
            found[DATA_FOLDERS] = os.pathsep.join(map(str, self.data_folders)) or OFF
        if self.logging_targets is not None:
            found[LOGGING_TARGETS] = ",".join(self.logging_targets) or OFF
        return found

    def check(self, spec: StudySpec) -> None:
        """Raises InvalidSpecError for a place that a study may not name."""
        if found := list(self.faults(spec)):
            raise InvalidSpecError(found)

    def faults(self, spec: StudySpec, *, working_dir: Path | None = None) -> Iterator[Problem]:
        """What a study may not name; `working_dir` holds its own trainable, if any."""
        if self.data_folders is not None and spec.trainable is not None:
            for pointer, value in _files(spec, working_dir):
                if not any(_is_within(value, folder) for folder in self.data_folders):
                    allowed = ", ".join(map(str, self.data_folders)) or "none at all"
                    yield Problem(
                        pointer, f"{value!r} is no absolute path in one of this deployment's folders of data "
                        f"({allowed}), without .. and without links that lead out",
                        "name a file there, leave it out, or ask who runs the service to add its folder to "
                        f"{DATA_FOLDERS}",
                    )  # fmt: skip
        if self.logging_targets is not None:
            yield from self._logging_faults(spec, self.logging_targets)

    def _logging_faults(self, spec: StudySpec, targets: tuple[str, ...]) -> Iterator[Problem]:
        allowed = ", ".join(targets) or "none at all"
        hint = f"name one of these, drop the key, or ask who runs the service to add it to {LOGGING_TARGETS}"
        folder, server = spec.logging.tensorboard, spec.logging.mlflow
        if folder is not None and not any(_is_within(folder, Path(each)) for each in targets if each.startswith("/")):
            yield Problem("/logging/tensorboard", f"{folder!r} is in none of this deployment's ({allowed})", hint)
        if server is not None and server.rstrip("/") not in targets:
            yield Problem("/logging/mlflow", f"{server!r} is none of this deployment's ({allowed})", hint)


ANYWHERE = Places()


def _files(spec: StudySpec, working_dir: Path | None) -> Iterator[tuple[str, object]]:
    """Where the specification names a file, and which, be it a constant or a choice."""
    for name, other in files_of(spec.trainable or "", folder=working_dir).items():
        step = name.replace("~", "~0").replace("/", "~1")
        if name in spec.fixed and spec.fixed[name] != other:
            yield f"/fixed/{step}", spec.fixed[name]
        parameter = spec.parameters.get(name)
        if isinstance(parameter, CategoricalParameter):
            for place, choice in enumerate(parameter.choices):
                if choice != other:
                    yield f"/parameters/{step}/choices/{place}", choice


def _is_within(value: object, folder: Path) -> bool:
    """Whether a path leads into a folder, or to it. One that doesn't say so itself isn't looked at."""
    if not isinstance(value, str) or not value.isprintable() or not value.startswith("/"):
        return False
    path = Path(value)
    real = Path(os.path.realpath(folder))
    if ".." in path.parts or not (path.is_relative_to(folder) or path.is_relative_to(real)):
        return False
    return Path(os.path.realpath(path)).is_relative_to(real)
