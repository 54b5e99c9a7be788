"""A working folder as a package that the service can run."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from api.schemas.service import MAX_PACKAGE
from hpo.errors import ServiceError

EXCLUDED = frozenset({
    ".git", ".hg", ".svn", ".venv", "venv", "__pycache__", "node_modules", ".hpo", ".mypy_cache", ".ruff_cache",
    ".pytest_cache", ".ipynb_checkpoints", ".DS_Store",
    ".gitignore",  # Ray would leave out of the job what it names, though the user has given the folder on purpose
})  # fmt: skip


def zipped(folder: Path) -> bytes:
    """A folder as a zip file, byte for byte the same for the same files. Raises ServiceError if it can't be sent."""
    if not folder.is_dir():
        raise ServiceError(f"{folder}: no such folder; give the one that holds your trainable")
    buffer, size = io.BytesIO(), 0
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _files(folder):
            # A fixed date and mode: neither a fresh checkout nor a umask makes it another package.
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            try:
                content = path.read_bytes()
            except OSError as error:
                raise ServiceError(f"{path}: can't be read ({error.strerror}); leave it out of the folder") from None
            archive.writestr(entry, content)
            size = buffer.tell()
            if size > MAX_PACKAGE:
                break
    if size > MAX_PACKAGE or len(buffer.getvalue()) > MAX_PACKAGE:
        raise ServiceError(
            f"{folder} has over {MAX_PACKAGE:,} bytes zipped, but a package has at most so many; "
            "put the trainable into a folder without data, checkpoints and virtual environments"
        )
    return buffer.getvalue()


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in EXCLUDED or path.name.endswith(".pyc"):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        elif path.is_file():
            yield path
