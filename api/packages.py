"""Uploaded working folders: stored under the SHA-256 of their zip file, extracted, never changed."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
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
        with zipfile.ZipFile(archive) as file:
            _check(file.infolist())
            file.extractall(scratch)
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


def _check(entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > MAX_FILES:
        raise _invalid(f"the package has {len(entries)} files, but at most {MAX_FILES} are taken")
    size = sum(entry.file_size for entry in entries)
    if size > MAX_EXTRACTED:
        raise _invalid(f"the package holds {size:,} bytes, but at most {MAX_EXTRACTED:,} are taken")
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0:1]:
            raise _invalid(f"{entry.filename!r} leads out of the package; names are relative, without ..")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise _invalid(f"{entry.filename!r} is a symbolic link; put the file itself into the package")


def _invalid(detail: str) -> ApiError:
    return ApiError(422, "invalid-package", detail, problems=[Problem("", detail, "zip the folder anew")])
