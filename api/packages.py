"""Uploaded working folders: stored under the SHA-256 of their zip file, extracted, never changed."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import struct
import tempfile
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath

from api.deployment import Rules
from api.errors import ApiError
from api.schemas.service import DIGEST
from hpo.errors import Problem

MAX_FILES = 20_000
MAX_EXTRACTED = 500_000_000
"""Bytes: a zip file of 50 MB may hold much more than it should."""
MAX_DIRECTORY = 256 * MAX_FILES
"""Bytes of a zip file's list of its files, all of which is read before they can be counted; 46 are each one's least."""
MIN_FREE = 1_000_000_000
"""Bytes that stay free on the disk, where the database and the checkpoints may be, too."""
_END, _LOCATOR = b"PK\x05\x06", b"PK\x06\x07"
"""What the end of a zip file opens with, and what stands before it in one of more files than 65,535 (ZIP64)."""
_END_SIZE, _LOCATOR_SIZE, _MAX_COMMENT = 22, 20, 65_536
_NO_FILE = (errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EINVAL, errno.EILSEQ)
"""Names that no file can have here, alone or beside the others."""


def is_digest(text: str) -> bool:
    return re.fullmatch(DIGEST, text) is not None


def folder_of(root: Path, digest: str) -> Path | None:
    """The extracted folder of a package, or None."""
    if not is_digest(digest):
        return None
    folder = root / digest.removeprefix("sha256:")
    return folder if folder.is_dir() else None


def check_taken(rules: Rules) -> None:
    """Raises ApiError where the deployment takes no packages."""
    if (fault := rules.package_fault()) is not None:
        raise ApiError(422, "invalid-package", f"{fault.detail}; {fault.hint}", problems=[fault])


def checked_folder(root: Path, digest: str) -> Path:
    """The extracted folder of a package that a request names. Raises ApiError unless it was uploaded."""
    folder = folder_of(root, digest)
    if folder is None:
        raise ApiError(
            422, "package-not-found", f"package {digest} was never uploaded; PUT /v1/packages/{digest} first",
            problems=[Problem("/package", f"{digest} was never uploaded", "upload it with PUT /v1/packages/…")],
        )  # fmt: skip
    return folder


async def receive(root: Path, digest: str, chunks: AsyncIterator[bytes]) -> Path:
    """Write a zip file that is on its way to a scratch file, whose digest is checked; the caller stores it."""
    root.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".upload-", suffix=".zip", dir=root)
    path, found = Path(name), hashlib.sha256()
    try:
        with os.fdopen(handle, "wb") as file:
            async for chunk in chunks:
                found.update(chunk)
                file.write(chunk)
        if f"sha256:{found.hexdigest()}" != digest:
            raise _invalid(f"the body's digest is sha256:{found.hexdigest()}, not {digest}; send it again whole")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def store(root: Path, digest: str, archive: Path) -> None:
    """Extract a checked archive to its place, or leave no trace."""
    scratch = Path(tempfile.mkdtemp(prefix=".extract-", dir=root))
    try:
        _check_directory(archive)
        with zipfile.ZipFile(archive) as file:
            _check(file.infolist(), free=shutil.disk_usage(root).free)
            try:
                file.extractall(scratch)
            except OSError as error:
                if error.errno in _NO_FILE:
                    raise _invalid(f"it holds names that can't be files beside each other ({error.strerror})") from None
                raise
        scratch.chmod(0o755)
        scratch.rename(root / digest.removeprefix("sha256:"))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:  # what zipfile raises for broken files
        raise _invalid(f"the body is no zip file that can be read ({error})") from None
    except OSError:
        if folder_of(root, digest) is None:  # else the same package came twice at once: fine
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        archive.unlink(missing_ok=True)


def _check_directory(archive: Path) -> None:
    """Raises ApiError where the list of the files is longer than it can be: to read it takes many times its memory."""
    with archive.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LOCATOR_SIZE - _END_SIZE - _MAX_COMMENT))
        tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + _END_SIZE:
        raise _invalid("the body is no zip file that can be read (it has no end)")
    (length,) = struct.unpack_from("<L", tail, at + 12)
    is_64 = tail[max(0, at - _LOCATOR_SIZE) :].startswith(_LOCATOR)  # the length stands elsewhere
    if length > MAX_DIRECTORY or is_64:
        raise _invalid(f"its list of files is too long; at most {MAX_FILES} files are taken")


def _check(entries: list[zipfile.ZipInfo], *, free: int) -> None:
    if len(entries) > MAX_FILES:
        raise _invalid(f"the package has {len(entries)} files, but at most {MAX_FILES} are taken")
    size = sum(entry.file_size for entry in entries)
    if size > MAX_EXTRACTED:
        raise _invalid(f"the package holds {size:,} bytes, but at most {MAX_EXTRACTED:,} are taken")
    if free - size < MIN_FREE:
        raise ApiError(
            503, "storage-full",
            f"the package holds {size:,} bytes, but the service's disk has {free:,} left, of which {MIN_FREE:,} stay "
            "free; ask who runs it to remove packages that no study needs, or to make room",
            headers={"Retry-After": "60"},
        )  # fmt: skip
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0:1]:
            raise _invalid(f"{entry.filename!r} leads out of the package; names are relative, without ..")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise _invalid(f"{entry.filename!r} is a symbolic link; put the file itself into the package")


def _invalid(detail: str) -> ApiError:
    return ApiError(422, "invalid-package", detail, problems=[Problem("", detail, "zip the folder anew")])
