"""The service, for Python: `Client(url, token)`. The `hpo` command uses nothing else."""

from __future__ import annotations

import getpass
import hashlib
import io
import os
import socket
import time
import uuid
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from api.schemas import (
    MAX_PACKAGE,
    BestAnswer,
    BestListAnswer,
    CheckpointAnswer,
    CheckpointsAnswer,
    DecisionAnswer,
    EventAnswer,
    EventsAnswer,
    InheritanceAnswer,
    InheritancesAnswer,
    ListAnswer,
    MeasurementAnswer,
    PackageAnswer,
    PreviewAnswer,
    ReadyAnswer,
    StudyAnswer,
    StudyDetailAnswer,
    TrialAnswer,
    ValidAnswer,
)
from hpo.errors import Problem, ServiceError
from hpo.spec import StudySpec
from hpo.specfile import to_data
from hpo.trial import StudyState, TrialState

A = TypeVar("A", bound=BaseModel)

EXCLUDED = frozenset({
    ".git", ".hg", ".svn", ".venv", "venv", "__pycache__", "node_modules", ".hpo", ".mypy_cache", ".ruff_cache",
    ".pytest_cache", ".ipynb_checkpoints", ".DS_Store",
    ".gitignore",  # Ray would leave out of the job what it names, though the user has given the folder on purpose
})  # fmt: skip
MAX_RECONNECT_SECONDS = 5.0


class Client:
    """All methods raise ServiceError: its status and problems are the service's, or None where none answered."""

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        timeout_seconds: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        headers = {"X-Hpo-User": _user()} | ({"Authorization": f"Bearer {token}"} if token else {})
        try:
            self._http = httpx.Client(
                base_url=self.url, headers=headers, timeout=timeout_seconds, transport=transport, trust_env=False
            )
        except (httpx.InvalidURL, ValueError, UnicodeError) as error:
            raise ServiceError(f"{url!r} is no address of a service ({error}); correct HPO_URL") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # -- studies ------------------------------------------------------------------------------------------
    def create_study(self, spec: StudySpec | Mapping[str, Any], *, package: str | None = None) -> StudyAnswer:
        """Submit a study; `package` is what `upload_package` gave."""
        return self._parse(StudyAnswer, self._send("POST", "/v1/studies", json=_body(spec, package)))

    def validate(self, spec: StudySpec | Mapping[str, Any], *, package: str | None = None) -> StudySpec:
        """The specification as it would run; creates nothing."""
        return self._parse(ValidAnswer, self._send("POST", "/v1/studies:validate", json=_body(spec, package))).spec

    def study(self, name: str) -> StudyDetailAnswer:
        return self._parse(StudyDetailAnswer, self._send("GET", _at(name)))

    def studies(
        self, *, state: StudyState | None = None, page_size: int = 100, page_token: str | None = None
    ) -> ListAnswer[StudyAnswer]:
        """The newest first."""
        query = _query(state=state, page_size=page_size, page_token=page_token)
        return self._parse(ListAnswer[StudyAnswer], self._send("GET", "/v1/studies", params=query))

    def delete_study(self, name: str) -> None:
        self._send("DELETE", _at(name))

    # -- steering -----------------------------------------------------------------------------------------
    def pause(self, study: str) -> StudyAnswer:
        """Give all its workers back until `resume`; taken at once, paused within seconds."""
        return self._steer(study, ":pause")

    def resume(self, study: str) -> StudyAnswer:
        return self._steer(study, ":resume")

    def stop(self, study: str) -> StudyAnswer:
        """End it early, with its result."""
        return self._steer(study, ":stop")

    def cancel(self, study: str) -> StudyAnswer:
        return self._steer(study, ":cancel")

    def change(self, study: str, changes: Mapping[str, Any], *, version: int | None = None) -> StudyAnswer:
        """Another budget, concurrency, priority or labels: `{"budget": {"trials": 64}}`. Refused (412) unless the study
        is at `version`, if given."""
        tag = "*" if version is None else f'"{version}"'
        answer = self._send("PATCH", _at(study), json=dict(changes), headers={"If-Match": tag})
        return self._parse(StudyAnswer, answer)

    def fork(
        self, study: str, name: str, *, spec: Mapping[str, Any] | None = None, warm_start: bool = True
    ) -> StudyAnswer:
        """Another study with this one's specification, changed by `spec` (a merge patch), which learns from it."""
        return self._steer(study, ":fork", {"name": name, "spec": dict(spec or {}), "warm_start": warm_start})

    def enqueue(self, study: str, params: Sequence[Mapping[str, Any]]) -> StudyAnswer:
        """Try these configurations next."""
        return self._steer(study, "/trials", {"params": [dict(each) for each in params]})

    def stop_trial(self, study: str, number: int) -> StudyAnswer:
        return self._steer(study, f"/trials/{number}:stop")

    def retry(self, study: str, number: int | None = None, *, cause: str | None = None) -> StudyAnswer:
        """Try a failed trial's configuration again; without a number those of all that failed (by one cause)."""
        if number is not None:
            return self._steer(study, f"/trials/{number}:retry")
        return self._steer(study, "/trials:retry", {"cause": cause})

    def _steer(self, study: str, what: str, body: Mapping[str, Any] | None = None) -> StudyAnswer:
        return self._parse(StudyAnswer, self._send("POST", _at(study) + what, json=body))

    def preview(
        self, spec: StudySpec | Mapping[str, Any], *, package: str | None = None, step_seconds: float = 1.0
    ) -> PreviewAnswer:
        """How long a study would take, simulated; creates nothing."""
        query = _query(step_seconds=step_seconds)
        answer = self._send("POST", "/v1/studies:preview", json=_body(spec, package), params=query)
        return self._parse(PreviewAnswer, answer)

    # -- trials -------------------------------------------------------------------------------------------
    def trials(
        self,
        study: str,
        *,
        state: TrialState | None = None,
        order_by: Literal["number", "value"] = "number",
        page_size: int = 100,
        page_token: str | None = None,
    ) -> ListAnswer[TrialAnswer]:
        query = _query(state=state, order_by=order_by, page_size=page_size, page_token=page_token)
        return self._parse(ListAnswer[TrialAnswer], self._send("GET", _at(study, "trials"), params=query))

    def trial(self, study: str, number: int) -> TrialAnswer:
        return self._parse(TrialAnswer, self._send("GET", _at(study, "trials", number)))

    def measurements(
        self, study: str, *, trial: int | None = None, page_size: int = 100, page_token: str | None = None
    ) -> ListAnswer[MeasurementAnswer]:
        path = _at(study, "measurements") if trial is None else _at(study, "trials", trial, "measurements")
        query = _query(page_size=page_size, page_token=page_token)
        return self._parse(ListAnswer[MeasurementAnswer], self._send("GET", path, params=query))

    def decisions(
        self, study: str, *, trial: int | None = None, page_size: int = 100, page_token: str | None = None
    ) -> ListAnswer[DecisionAnswer]:
        query = _query(trial=trial, page_size=page_size, page_token=page_token)
        return self._parse(ListAnswer[DecisionAnswer], self._send("GET", _at(study, "decisions"), params=query))

    def checkpoints(self, study: str, trial: int) -> list[CheckpointAnswer]:
        return self._parse(CheckpointsAnswer, self._send("GET", _at(study, "trials", trial, "checkpoints"))).items

    def inheritances(self, study: str, *, trial: int | None = None) -> list[InheritanceAnswer]:
        """The family tree, in the order in which it grew; of one trial if given."""
        answer = self._send("GET", _at(study, "inheritances"), params=_query(trial=trial))
        return self._parse(InheritancesAnswer, answer).items

    def best(self, study: str, *, count: int = 5) -> list[BestAnswer]:
        """The best trials, the best first."""
        return self._parse(BestListAnswer, self._send("GET", _at(study, "best"), params={"count": count})).items

    # -- events -------------------------------------------------------------------------------------------
    def events(self, study: str, *, after: int = 0, patience_seconds: float = 60.0) -> Iterator[EventAnswer]:
        """Everything that happens in the study, until it is final. A lost connection is taken up again where it
        broke, for `patience_seconds` without an answer at most."""
        pause, given_up = 0.2, time.monotonic() + patience_seconds
        while True:
            try:
                for event in self._stream(study, after):
                    after = event.id
                    pause, given_up = 0.2, time.monotonic() + patience_seconds
                    yield event
                if self.study(study).state.is_final:
                    return
            except ServiceError as error:
                if error.status is not None and error.status < 500:
                    raise
                if time.monotonic() > given_up:
                    raise
            time.sleep(pause)
            pause = min(pause * 2, MAX_RECONNECT_SECONDS)

    def page_of_events(self, study: str, *, after: int = 0, limit: int = 1000) -> list[EventAnswer]:
        """What has happened so far, after an id; at most `limit` lines."""
        answer = self._send(
            "GET", _at(study, "events"), params=_query(after=after, limit=limit), headers={"Accept": "application/json"}
        )
        return self._parse(EventsAnswer, answer).items

    def _stream(self, study: str, after: int) -> Iterator[EventAnswer]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        # The service says something every 15 s.
        timeout = httpx.Timeout(30.0, read=45.0)
        try:
            with self._http.stream("GET", _at(study, "events"), headers=headers, timeout=timeout) as response:
                if response.status_code != 200:
                    response.read()
                    raise _error(response)
                data: list[str] = []
                for line in response.iter_lines():
                    if line.startswith("data:"):
                        data.append(line[5:].removeprefix(" "))
                    elif not line and data:
                        yield EventAnswer.model_validate_json("\n".join(data))
                        data = []
        except (httpx.TransportError, httpx.StreamError) as error:
            raise self._unreachable(error) from None

    # -- packages -----------------------------------------------------------------------------------------
    def upload_package(self, folder: Path) -> str:
        """Zip a working folder and upload it; gives its `sha256:…`. The same files give the same digest."""
        content = zipped(folder)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        answer = self._send(
            "PUT", f"/v1/packages/{digest}", content=content, headers={"Content-Type": "application/zip"}
        )
        return self._parse(PackageAnswer, answer).package

    # -- health -------------------------------------------------------------------------------------------
    def ready(self) -> ReadyAnswer:
        """Whether the service can run studies, and which part keeps it from that; needs no token."""
        try:
            response = self._http.get("/readyz", timeout=15.0)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        if response.status_code not in (200, 503):
            raise _error(response)
        return self._parse(ReadyAnswer, response)

    def _send(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        if method == "POST":  # a lost answer is asked for once more, and nothing happens twice
            kwargs["headers"] = {"Idempotency-Key": uuid.uuid4().hex, **kwargs.get("headers", {})}
        try:
            try:
                response = self._http.request(method, path, **kwargs)
            except (httpx.RemoteProtocolError, httpx.ReadError):
                if method not in ("POST", "GET"):
                    raise
                response = self._http.request(method, path, **kwargs)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from None
        if not response.is_success:
            raise _error(response)
        return response

    def _parse(self, kind: type[A], response: httpx.Response) -> A:
        try:
            return kind.model_validate_json(response.content)
        except ValidationError:
            raise ServiceError(
                f"{self.url} answers, but not as an hpo service of this version; is HPO_URL right?",
                status=response.status_code,
            ) from None

    def _unreachable(self, error: Exception) -> ServiceError:
        return ServiceError(
            f"the service at {self.url} can't be reached ({error or type(error).__name__}); "
            "start it with `hpo up`, or set HPO_URL"
        )


def _user() -> str:
    """Who asks, for the study's history."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}".encode("ascii", "replace").decode()[:100]


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


def _body(spec: StudySpec | Mapping[str, Any], package: str | None) -> dict[str, Any]:
    data = to_data(spec) if isinstance(spec, StudySpec) else dict(spec)
    return {"spec": data, "package": package}


def _at(study: str, *parts: str | int) -> str:
    from urllib.parse import quote

    return "/".join(["/v1/studies", quote(study, safe=""), *map(str, parts)])


def _query(**parameters: Any) -> dict[str, Any]:
    return {key: str(value) for key, value in parameters.items() if value is not None}


def _error(response: httpx.Response) -> ServiceError:
    """The error that a problem document describes; its pointers become those of the specification."""
    status = response.status_code
    try:
        problem = response.json()
        problems = [
            Problem(str(field["pointer"]).removeprefix("/spec"), str(field["detail"]), str(field["hint"]))
            for field in problem.get("errors", [])
        ]
        return ServiceError(str(problem["detail"]), status=status, problems=problems)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ServiceError(f"{response.url} answered {status} without saying why", status=status)
