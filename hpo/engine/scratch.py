"""Local folders for what is of no use after a study: Tune's and Train's own files, the trials' working folders.

Beside checkpoints in a folder they lie in it. Beside checkpoints on S3 they lie on each machine for itself: below
`$HPO_HOME/scratch`, else below the system's temporary folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import tempfile
from pathlib import Path

import psutil

from hpo.engine.files import Address, StorageError

PARTS = ("tune", "train", "work")


def scratch_folder(storage: Address) -> Path:
    """Of the study whose checkpoints are kept below `storage`. It need not be there yet."""
    if isinstance(storage, Path):
        return storage
    # Two services may have studies of one name.
    return _root() / f"{storage.name}-{hashlib.sha256(str(storage).encode()).hexdigest()[:8]}"


def work_folder(storage: Address) -> Path:
    """The folder in which this process's trials work. What processes of this machine left there that were killed is
    removed: nobody else looks after a local folder."""
    folder = scratch_folder(storage) / "work"
    if isinstance(storage, Path):
        return folder
    host = socket.gethostname()
    for left in _root().glob(f"*/work/{host}-*"):
        number = left.name.removeprefix(f"{host}-")
        if number.isdigit() and not psutil.pid_exists(int(number)):
            shutil.rmtree(left, ignore_errors=True)
    return folder / f"{host}-{os.getpid()}"


def clear(storage: Address) -> None:
    """The study is over: the store is the memory."""
    folder = scratch_folder(storage)
    for part in PARTS:
        shutil.rmtree(folder / part, ignore_errors=True)
    if not isinstance(storage, Path):
        shutil.rmtree(folder, ignore_errors=True)


def _root() -> Path:
    home = os.environ.get("HPO_HOME")
    if home:
        root = Path(home) / "scratch"
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError:  # a machine of the cluster that has no such folder
            pass
        else:
            if os.access(root, os.W_OK | os.X_OK):
                return root
    root = Path(tempfile.gettempdir()) / f"hpo-scratch-{os.getuid()}"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if root.stat().st_uid != os.getuid():  # what lies there is loaded as weights, so nobody else may write it
        raise StorageError(
            f"{root} belongs to another user, but holds checkpoints on their way; set HPO_HOME or TMPDIR"
        )
    return root
