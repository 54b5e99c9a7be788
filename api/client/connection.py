"""One connection to a service: requests, their errors, and what an answer is parsed to."""

from __future__ import annotations

import getpass
import os
import random
import socket
import ssl
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from api import tls
from api.problems import URN, WRONG_TOKENS
from api.settings import Settings
from hpo.errors import Problem, ServiceError
from hpo.spec import StudySpec
from hpo.specfile import to_data

A = TypeVar("A", bound=BaseModel)

PATIENCE_SECONDS = 600.0
"""The first byte of a table with named columns comes when all of its rows were read."""
WAIT_SECONDS = 60.0
"""How long a request that is one too many is put off at most."""


class Connection:
    """What all parts of the client share."""

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        project: str | None = None,
        timeout_seconds: float = 30.0,
        wait_seconds: float = WAIT_SECONDS,
        trust: ssl.SSLContext | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`project` is what requests with the service's own token are about; any other token has its own. A request
        that is one too many (429) is sent again when the service says so, for `wait_seconds` in all; not, though, where
        it looks at no new token, and this one was never accepted. `trust` holds the authorities whose certificates are
        taken; the public ones unless given."""
        self.url, self._wait_seconds = url.rstrip("/"), wait_seconds
        self._was_let_in = False
        """Whether the service has taken the token."""
        headers = {"X-Hpo-User": _user()} | ({"Authorization": f"Bearer {token}"} if token else {})
        headers |= {"X-Hpo-Project": project} if project else {}
        try:
            self._http = httpx.Client(
                base_url=self.url, headers=headers, timeout=timeout_seconds, transport=transport, trust_env=False,
                verify=True if trust is None else trust, event_hooks={"response": [self._note]},
            )  # fmt: skip
        except (httpx.InvalidURL, ValueError, UnicodeError) as error:
            raise ServiceError(f"{url!r} is no address of a service ({error}); correct HPO_URL") from None

    @classmethod
    def of(cls, settings: Settings, *, project: str | None = None, timeout_seconds: float = 30.0) -> Self:
        """To the service of the settings, with their token."""
        return cls(
            settings.url, settings.known_token(), project=project, timeout_seconds=timeout_seconds,
            trust=tls.trust(settings),
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def _send(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        if method == "POST":  # a lost answer is asked for once more, and nothing happens twice
            kwargs["headers"] = {"Idempotency-Key": uuid.uuid4().hex, **kwargs.get("headers", {})}
        until = time.monotonic() + self._wait_seconds
        while True:
            response = self._send_once(method, path, **kwargs)
            if response.is_success:
                return response
            self._wait(error_of(response), until)

    def _send_once(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        try:
            try:
                return self._http.request(method, path, **kwargs)
            except (httpx.RemoteProtocolError, httpx.ReadError):
                if method not in ("POST", "GET"):
                    raise
                return self._http.request(method, path, **kwargs)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from None

    def _note(self, response: httpx.Response) -> None:
        self._was_let_in |= response.is_success and response.request.url.path.startswith("/v1/")

    def _is_stranger(self, error: ServiceError) -> bool:
        """Whether the service, after too many wrong tokens, doesn't look at this one: it is likely one of them."""
        return error.kind == WRONG_TOKENS and not self._was_let_in

    def _wait(self, error: ServiceError, until: float) -> None:
        """Wait as long as the service says (429, which has changed nothing), or raise its error: where it says
        something else, where that would be too late, or would help nobody."""
        if error.status != 429 or self._is_stranger(error):
            raise error
        # Not to the second, or all that were refused together would come back together.
        seconds = max(error.retry_after or 1.0, 0.1) * random.uniform(1.0, 1.1)
        if time.monotonic() + seconds > until:
            raise error
        time.sleep(seconds)

    def _download(self, path: str, name: str, **parameters: Any) -> Iterator[bytes]:
        """An answer in pieces, as it comes. `name` is for errors."""
        timeout = httpx.Timeout(30.0, read=PATIENCE_SECONDS)
        until = time.monotonic() + self._wait_seconds
        try:
            while True:
                with self._http.stream("GET", path, params=query_of(**parameters), timeout=timeout) as response:
                    if response.status_code == 200:
                        yield from response.iter_bytes()
                        return
                    response.read()
                self._wait(error_of(response), until)
        except httpx.RemoteProtocolError as error:
            raise ServiceError(f"{name} broke off ({error}); try it again") from None
        except (httpx.TransportError, httpx.StreamError) as error:
            raise self._unreachable(error) from None

    def _parse(self, kind: type[A], response: httpx.Response) -> A:
        try:
            return kind.model_validate_json(response.content)
        except ValidationError:
            raise ServiceError(
                f"{self.url} answers, but not as an hpo service of this version; is HPO_URL right?",
                status=response.status_code,
            ) from None

    def _unreachable(self, error: Exception) -> ServiceError:
        if (fault := tls.fault(self.url, error)) is not None:
            return ServiceError(fault)
        return ServiceError(
            f"the service at {self.url} can't be reached ({error or type(error).__name__}); "
            "start it with `hpo up`, or set HPO_URL"
        )


def write_file(path: Path, pieces: Iterable[bytes]) -> int:
    """How many bytes. The file is there when it is whole. Raises ServiceError where it can't be written."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            size = sum(file.write(piece) for piece in pieces)
        part.replace(path)
    except OSError as error:
        raise ServiceError(f"{path} can't be written ({error.strerror}); give another file") from None
    finally:
        part.unlink(missing_ok=True)
    return size


def at(study: str, *parts: str | int) -> str:
    return "/".join(["/v1/studies", quote(study, safe=""), *map(str, parts)])


def query_of(**parameters: Any) -> dict[str, Any]:
    return {key: str(value) for key, value in parameters.items() if value is not None}


def body_of(spec: StudySpec | Mapping[str, Any], package: str | None) -> dict[str, Any]:
    data = to_data(spec) if isinstance(spec, StudySpec) else dict(spec)
    return {"spec": data, "package": package}


def error_of(response: httpx.Response) -> ServiceError:
    """The error that a problem document describes; its pointers become those of the specification."""
    status, wait = response.status_code, response.headers.get("retry-after", "")
    retry_after = float(wait) if wait.isdigit() else None
    try:
        problem = response.json()
        problems = [
            Problem(str(field["pointer"]).removeprefix("/spec"), str(field["detail"]), str(field["hint"]))
            for field in problem.get("errors", [])
        ]
        kind = str(problem["type"]).removeprefix(URN)
        detail = str(problem["detail"])
        return ServiceError(detail, status=status, kind=kind, problems=problems, retry_after=retry_after)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ServiceError(
            f"{response.url} answered {status} without saying why", status=status, retry_after=retry_after
        )


def _user() -> str:
    """Who asks, for the study's history."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}".encode("ascii", "replace").decode()[:100]
