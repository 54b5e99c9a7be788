"""Checkpoint folders that no row names, and rows whose folders are gone."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from api.doctor.check import Check, listed, size
from hpo.engine.files import Address, Found, StorageError, open_storage
from hpo.errors import StudyNotFoundError
from hpo.protocols import Store
from hpo.trial import Checkpoint, Study

UNRECORDED_SECONDS = 600.0
"""A checkpoint of a study at work that is younger may just not have its row yet."""


def check(store: Store, storage: Address) -> Iterator[Check]:
    try:
        yield from _compared(store, storage)
    except StorageError as error:
        yield Check(
            "checkpoints", False, f"{storage} can't be looked at: {error}", "see to it, then run hpo doctor again"
        )


def _compared(store: Store, storage: Address) -> Iterator[Check]:
    # Folders first: what is written from here on has no folder in the list, so its row isn't missed.
    folders = {study: list(open_storage(storage / study).found()) for study in open_storage(storage).studies()}
    studies = _studies(store)
    for name in [name for name, study in studies.items() if study.spec.engine == "ask"]:
        del studies[name]  # its checkpoints are its workers', wherever they are
        folders.pop(name, None)
    stray = _Tally()
    lost = _Tally()
    num_named = 0
    for name, study in studies.items():
        is_open = not study.state.is_final
        rows = _rows(store, name)
        num_named += len(rows)
        stored = folders.pop(name, [])
        for folder in stored:
            if folder.path not in rows and not (is_open and _is_young(folder)):
                stray.add(name, _bytes_in(folder), folder.path)
        gone = [path for path in rows.keys() - {each.path for each in stored} if not _is_there(path)]
        # A driver drops a checkpoint's row and then its folder: what it has dropped meanwhile isn't lost.
        still = _rows(store, name) if gone and is_open else rows
        for path in sorted(gone):
            if path in still:
                lost.add(name, rows[path].size_bytes, path)
    for name, left in folders.items():
        for folder in left:
            stray.add(f"{name} (not in the database)", _bytes_in(folder), folder.path)
    yield stray.check(
        "stray checkpoints", "folders that no row names", f"{num_named} checkpoints named, no folder beside them",
        "remove those of studies that have ended or are not in the database; a study that goes on removes its own",
    )  # fmt: skip
    at_all = storage.is_dir() if isinstance(storage, Path) else True
    missing = "" if at_all or not lost.total else f"; {storage} is not there at all"
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


def _studies(store: Store) -> dict[str, Study]:
    """All, by name."""
    found: dict[str, Study] = {}
    token: str | None = None
    while True:
        page = store.studies(page_size=1000, page_token=token)
        found.update((study.name, study) for study in page.items)
        token = page.next_page_token
        if token is None:
            return found


def _rows(store: Store, study: str) -> dict[str, Checkpoint]:
    try:
        return {checkpoint.path: checkpoint for checkpoint in store.checkpoints(study)}
    except StudyNotFoundError:  # deleted meanwhile
        return {}


def _is_there(path: str) -> bool:
    return open_storage(path).size_of(path) is not None


def _is_young(folder: Found) -> bool:
    measured = folder.measure()
    return measured is None or time.time() - measured.modified_at < UNRECORDED_SECONDS  # None: gone meanwhile


def _bytes_in(folder: Found) -> int:
    measured = folder.measure()
    return measured.size_bytes if measured else 0
