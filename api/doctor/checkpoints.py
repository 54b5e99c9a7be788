"""Checkpoint folders that no row names, and rows whose folders are gone."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from api.doctor.check import Check, listed, size
from hpo.errors import StudyNotFoundError
from hpo.protocols import Store
from hpo.trial import Checkpoint

UNRECORDED_SECONDS = 600.0
"""A checkpoint of a study at work that is younger may just not have its row yet."""


def check(store: Store, storage: Path) -> Iterator[Check]:
    # Folders first: what is written from here on has no folder in the list, so its row isn't missed.
    folders = _folders(storage)
    names = _studies(store)
    stray = _Tally()
    lost = _Tally()
    num_named = 0
    for name, is_open in names.items():
        rows = _rows(store, name)
        num_named += len(rows)
        for folder in folders.pop(name, []):
            if str(folder) not in rows and not (is_open and _is_young(folder)):
                stray.add(name, _bytes_in(folder), str(folder))
        gone = [path for path in rows if not Path(path).is_dir()]
        # A driver drops a checkpoint's row and then its folder: what it has dropped meanwhile isn't lost.
        still = _rows(store, name) if gone and is_open else rows
        for path in gone:
            if path in still:
                lost.add(name, rows[path].size_bytes, path)
    for name, left in folders.items():
        for folder in left:
            stray.add(f"{name} (not in the database)", _bytes_in(folder), str(folder))
    yield stray.check(
        "stray checkpoints", "folders that no row names", f"{num_named} checkpoints named, no folder beside them",
        "remove those of studies that have ended or are not in the database; a study that goes on removes its own",
    )  # fmt: skip
    missing = "" if storage.is_dir() or not lost.total else f"; {storage} is not there at all"
    yield lost.check(
        "lost checkpoints", f"rows whose folder is gone{missing}", "every checkpoint has its folder",
        "mount or restore HPO_STORAGE; a trial without its checkpoint goes on from its beginning",
    )  # fmt: skip


class _Tally:
    """Counts and bytes by study, and an example."""

    def __init__(self) -> None:
        self._count: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._example = ""

    @property
    def total(self) -> int:
        return self._count.total()

    def add(self, study: str, num_bytes: int, path: str) -> None:
        self._count[study] += 1
        self._bytes[study] += num_bytes
        self._example = self._example or path

    def check(self, what: str, of: str, none: str, remedy: str) -> Check:
        if not self.total:
            return Check(what, True, none)
        each = [f"{study}: {self._count[study]}, {size(self._bytes[study])}" for study, _ in self._bytes.most_common()]
        found = f"{self.total} {of}, {size(self._bytes.total())} ({listed(each)}), such as {self._example}"
        return Check(what, False, found, remedy)


def _studies(store: Store) -> dict[str, bool]:
    """Whether each study is yet to end."""
    found: dict[str, bool] = {}
    token: str | None = None
    while True:
        page = store.studies(page_size=1000, page_token=token)
        found.update((study.name, not study.state.is_final) for study in page.items)
        token = page.next_page_token
        if token is None:
            return found


def _rows(store: Store, study: str) -> dict[str, Checkpoint]:
    try:
        return {checkpoint.path: checkpoint for checkpoint in store.checkpoints(study)}
    except StudyNotFoundError:  # deleted meanwhile
        return {}


def _folders(storage: Path) -> dict[str, list[Path]]:
    """The checkpoint folders below `storage`, by study: STUDY/trials-LEASE/TRIAL[/generation-G]/step-S."""
    found: dict[str, list[Path]] = {}
    for trials in sorted(storage.glob("*/trials-*")):
        for folder, subfolders, _ in os.walk(trials):
            # With those that were being written when their driver ended: .step-S-XXXX.
            steps = [name for name in subfolders if name.startswith(("step-", ".step-"))]
            found.setdefault(trials.parent.name, []).extend(Path(folder) / name for name in steps)
            subfolders[:] = [name for name in subfolders if name not in steps]
    return found


def _is_young(folder: Path) -> bool:
    try:
        return time.time() - folder.stat().st_mtime < UNRECORDED_SECONDS
    except OSError:  # gone meanwhile
        return True


def _bytes_in(folder: Path) -> int:
    total = 0
    for where, _, files in os.walk(folder):
        for name in files:
            try:
                total += (Path(where) / name).stat().st_size
            except OSError:  # gone meanwhile
                continue
    return total
