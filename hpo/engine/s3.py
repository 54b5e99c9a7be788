"""Checkpoints on S3, or on what speaks its language (MinIO, Ceph, …), by pyarrow's client.

Keys, region and endpoint come from the standard AWS_* variables of the environment, or from the machine's own role;
nothing of them is ever in an address, a row or a message. What is asked is tried twice and times out: a storage that
doesn't answer is a StorageError within half a minute, a minute for an upload (its stream tries once more to close).
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import uuid
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pyarrow import fs

from hpo.engine.files import Found, Measured, S3Address, StorageError, Write, address, storage_fault, write_into

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
"""How long nothing may come."""
ATTEMPTS = 2
CHUNK = 2**24
"""Bytes that are read and sent at a time: what one transfer holds in memory, and one request each."""
_ERROR = re.compile(r"AWS Error (\w+)(?: \(HTTP status (\d+)\))? during \w+ operation[^:]*: (.*)", re.DOTALL)
_WHY = {
    "ACCESS_DENIED": "access is denied; check the keys and what the bucket's policy allows them",
    "INVALID_ACCESS_KEY_ID": "the access key is unknown; correct AWS_ACCESS_KEY_ID",
    "SIGNATURE_DOES_NOT_MATCH": "the secret key is wrong; correct AWS_SECRET_ACCESS_KEY",
    "NO_SUCH_BUCKET": "there is no such bucket; make it, or correct HPO_STORAGE",
}


class S3Storage:
    """A CheckpointStorage below an address. `quick` is for who asks only whether it answers: one attempt, 3 s."""

    def __init__(self, root: S3Address, *, quick: bool = False) -> None:
        self.root, self._quick = root, quick

    def save(self, step: int, write: Write, scratch: Path) -> tuple[str, int]:
        """Written into `scratch`, then uploaded under a name that no other upload has: what a leg of the trial that is
        over sends late is not mixed with it. Empty folders are not kept."""
        target = self.root / f"step-{step:06d}-{uuid.uuid4().hex[:8]}"
        scratch.mkdir(parents=True, exist_ok=True)
        total = 0
        with tempfile.TemporaryDirectory(prefix="upload-", dir=scratch) as staged:
            try:
                write_into(Path(staged), write)
            except StorageError as error:
                raise StorageError(f"the scratch folder {scratch}: {error}") from error
            for file in sorted(path for path in Path(staged).rglob("*") if path.is_file()):
                total += self._upload(file, f"{target.key}/{file.relative_to(staged).as_posix()}")
        return str(target), total

    def fetch(self, path: str, into: Path) -> Path:
        source = _of(path)
        files = self._files(source)
        if not files:
            raise FileNotFoundError(f"{path} holds no files: the checkpoint was removed, or its storage was changed")
        for file in files:
            target = into / file.path.removeprefix(f"{source.key}/")
            target.parent.mkdir(parents=True, exist_ok=True)
            self._download(file.path, target)
        return into

    def remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError), self._told():
            self._client.delete_dir(_of(path).key)

    def size_of(self, path: str) -> int | None:
        files = self._files(_of(path))
        return sum(file.size for file in files) if files else None

    def found(self) -> Iterator[Found]:
        seen: dict[str, Measured] = {}
        for file in self._files(self.root):
            parts = file.path.removeprefix(f"{self.root.key}/").split("/")
            step = next((at for at, part in enumerate(parts) if part.startswith("step-")), None)
            if step is None or not parts[0].startswith("trials-"):
                continue
            path = f"{self.root}/{'/'.join(parts[: step + 1])}"
            size, modified = seen.get(path, (0, 0.0))
            seen[path] = Measured(size + file.size, max(modified, file.mtime.timestamp()))
        for path in seen:
            yield Found(path, partial(seen.get, path))

    def studies(self) -> list[str]:
        return sorted(each.base_name for each in self._list(self.root, recursive=False) if not each.is_file)

    def clear(self) -> None:
        self.remove(str(self.root))

    def fault(self, error: Exception, scratch: Path) -> str | None:
        if isinstance(error, StorageError):
            return str(error)
        why = storage_fault(scratch, error)
        return f"the scratch folder {scratch}: {why}" if why else None

    def ping(self) -> None:
        """Raises StorageError unless it answers and has the bucket. Whether it can be written, only a write tells."""
        with self._told():
            bucket = self._client.get_file_info(self.root.bucket)
        if bucket.type == fs.FileType.NotFound:
            raise StorageError(_WHY["NO_SUCH_BUCKET"])

    @property
    def _client(self) -> Any:
        return _client(self._quick)

    def _files(self, place: S3Address) -> list[Any]:
        return [each for each in self._list(place, recursive=True) if each.is_file]

    def _list(self, place: S3Address, *, recursive: bool) -> list[Any]:
        with self._told():
            found = self._client.get_file_info(fs.FileSelector(place.key, recursive=recursive, allow_not_found=True))
        if not found:
            self.ping()  # else a storage without its bucket would look empty, and every checkpoint lost
        return list(found)

    def _upload(self, file: Path, key: str) -> int:
        with file.open("rb") as source:
            with self._told():
                sink = self._client.open_output_stream(key)
            while chunk := source.read(CHUNK):
                with self._told():
                    sink.write(chunk)
            with self._told():
                sink.close()
            return source.tell()

    def _download(self, key: str, file: Path) -> None:
        with self._told():
            source = self._client.open_input_stream(key)
        with file.open("wb") as sink:
            while True:
                with self._told():
                    chunk = source.read(CHUNK)
                if not chunk:
                    return
                sink.write(chunk)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turns what the client says into a StorageError. A key that isn't there stays a FileNotFoundError."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StorageError(_why(str(error))) from None  # whose text names requests and hosts


def endpoint() -> str | None:
    """The address of the server, where it isn't Amazon's; as the AWS tools take it from the environment."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def _of(path: str) -> S3Address:
    place = address(path)
    if not isinstance(place, S3Address):
        raise StorageError(f"{path} is a folder, but the storage asked for it is on S3")
    return place


@lru_cache(maxsize=8)
def _made(given: str | None, region: str | None, authority: str | None, quick: bool) -> Any:
    options: dict[str, Any] = {}
    if given:
        url = urlsplit(given)
        if url.scheme not in ("http", "https") or not url.netloc or "@" in url.netloc:
            raise StorageError("AWS_ENDPOINT_URL is no address of a server; it is http(s)://HOST[:PORT], without keys")
        options = {"endpoint_override": url.netloc, "scheme": url.scheme}
    return fs.S3FileSystem(
        region=region,
        tls_ca_file_path=authority,
        connect_timeout=2.0 if quick else CONNECT_SECONDS,
        request_timeout=3.0 if quick else ANSWER_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1 if quick else ATTEMPTS),
        background_writes=False,  # else a slow storage lets a whole checkpoint wait in memory
        allow_delayed_open=True,  # a small file is one request
        **options,
    )


def _client(quick: bool) -> Any:
    """One client a process and setting: it keeps its connections."""
    given = endpoint()
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ("us-east-1" if given else None)
    return _made(given, region, os.environ.get("AWS_CA_BUNDLE") or None, quick)


def _why(text: str) -> str:
    """The client's message, made short."""
    match = _ERROR.search(text)
    if match is None:
        return f"S3 failed: {text[:200]}"
    code, status, detail = match[1], match[2], match[3].partition("(Request ID")[0].strip()
    if code == "NETWORK_CONNECTION":
        detail = detail.partition("; Details")[0].partition(", ")[2] or detail
        return f"S3 can't be reached ({detail}); check AWS_ENDPOINT_URL, the server and the network"
    return _WHY.get(code) or f"S3 says {f'HTTP {status}' if status else code}: {detail[:200]}"
