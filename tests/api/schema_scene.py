"""The studies that made-up requests find, and what makes a request one that is meant."""

from __future__ import annotations

import hashlib
import io
import itertools
import time
import zipfile
from collections.abc import Callable
from typing import Any

from schemathesis import Case

from api import examples
from hpo import specfile
from hpo.errors import ProjectNotFoundError
from hpo.protocols import Store
from hpo.tenancy import Role
from hpo.trial import FailureCause, StudyState, Trial, TrialState

Json = dict[str, Any]

# `headlines` is the one of the document's own examples, and 3 is their trial.
STUDIES = {
    "headlines": StudyState.RUNNING,
    "over": StudyState.SUCCEEDED,
    "waiting": StudyState.QUEUED,
    "at-rest": StudyState.PAUSED,
}
NUM_TRIALS = 5
RUNNING, FAILED = 3, 4
PROJECT, TOKEN = "vision", "k3v9q0d2m7xa"
"""Those of the document's examples."""

# Some can only be done to what is in a certain state.
AIMS: dict[str, Json] = {
    "GET /v1/studies/{study}/events": {"study": "over"},  # the stream of another one ends when its request gives up
    "DELETE /v1/studies/{study}": {"study": "over"},
    "POST /v1/studies/{study}/trials/{number}:stop": {"study": "headlines", "number": RUNNING},
    "POST /v1/studies/{study}/trials/{number}:retry": {"study": "headlines", "number": FAILED},
    "POST /v1/studies/{study}/trials:retry": {"study": "headlines"},
}
TOLD = [f"POST /v1/studies/{{study}}/trials/{{number}}:{verb}" for verb in ("report", "renew", "complete", "release")]


class Scene:
    """The service's studies, as they should be before each request."""

    def __init__(self, store: Store, fill: Callable[..., None], post: Callable[[str, Json], Json]) -> None:
        self._store, self._fill, self._post = store, fill, post
        self._asked: str | None = None
        """The study whose workers ask, once there is one."""
        self._versions: dict[str, int] = {}
        self._numbers = itertools.count()

    def restore(self) -> None:
        """Put right what a request has changed."""
        there = {study.name: study for study in self._store.studies(page_size=1000).items}
        for name, study in there.items():
            if study.version != self._versions.get(name) and name != self._asked:
                if not study.state.is_final:
                    self._store.set_study_state(name, StudyState.CANCELLED)
                self._store.delete_study(name)
        for name, state in STUDIES.items():
            if name not in there or there[name].version != self._versions.get(name):
                self._make(name, state)
                self._versions[name] = self._store.study(name).version

        try:
            self._store.project(PROJECT)
        except ProjectNotFoundError:
            self._store.create_project(PROJECT)
            self._store.create_token(TOKEN, "0" * 64, project=PROJECT, name="anna", role=Role.READER)

    def _make(self, name: str, state: StudyState) -> None:
        spec = {**examples.SPEC, "name": name, "trainable": "mine:train", "budget": {"trials": 40}}
        if state is StudyState.QUEUED:
            self._store.create_study(specfile.parse(spec))
            return
        self._fill(spec, num_trials=RUNNING, end=None)
        lease = self._store.claim(name, holder="scene", lease_seconds=60)
        common: Json = {"study": name, "params": examples.TRIAL["params"], "created_at": 1.0}
        self._store.write(lease, [
            Trial(**common, number=RUNNING, state=TrialState.RUNNING),
            Trial(**common, number=FAILED, state=TrialState.FAILED, cause=FailureCause.ERROR),
        ])  # fmt: skip
        if state is not StudyState.RUNNING:
            self._store.set_study_state(name, state, lease=lease)
        self._store.release(lease)

    def meant(self, case: Case) -> Case:
        """The request, with what no schema can say where it is to be taken: a name and a key that are new, a version
        that is there, a package with its own digest; every second one is aimed at what it can be done to."""
        if case.meta is None or not case.meta.generation.mode.is_positive:
            return case
        number, label = next(self._numbers), case.operation.label
        if isinstance(key := case.headers.get("idempotency-key"), str):
            case.headers["idempotency-key"] = f"{key[:180]}-{number}"
        if number % 2:
            case.path_parameters |= AIMS.get(label, {})
            case.headers.pop("x-hpo-project", None)
            if "if-match" in case.headers:
                case.headers["if-match"] = "*"
        match label:
            case "POST /v1/studies" if isinstance(case.body, dict):
                case.body["spec"]["name"] = f"made-{number}"
            case "POST /v1/projects" | "POST /v1/projects/{project}/tokens" if isinstance(case.body, dict):
                case.body["name"] = f"made-{number}"
            case "POST /v1/studies:preview" if isinstance(case.body, dict):
                case.body["spec"]["budget"] = {"trials": 3, "steps_per_trial": 3}  # soon simulated
            case "POST /v1/studies/{study}:fork" if isinstance(case.body, dict):
                case.body["name"] = f"made-{number}"
            case "POST /v1/studies/{study}/trials:suggest" if number % 2:
                self._suggested(case)
            case told if told in TOLD and number % 2 and isinstance(case.body, dict):
                trial = self._suggested(case)
                case.body["lease"] = trial["lease"]
                if "step" in case.body:
                    case.body["step"] = trial["step"] + 1
                    case.body["metrics"] |= {"perplexity": 61.2}
            case "PUT /v1/packages/{digest}":
                case.body = _package(number)
                case.path_parameters["digest"] = f"sha256:{hashlib.sha256(case.body).hexdigest()}"
        return case

    def _suggested(self, case: Case) -> Json:
        """A trial that a worker has, and to which the request is aimed."""
        if self._asked is None or self._store.study(self._asked).state.is_final:
            self._asked = f"asked-{next(self._numbers)}"
            spec = {key: value for key, value in examples.SPEC.items() if key != "trainable"}
            budget = {"trials": 10_000, "steps_per_trial": 1_000}
            spec |= {"name": self._asked, "engine": "ask", "budget": budget, "scheduler": {"algorithm": "fifo"}}
            self._post("/v1/studies", {"spec": spec})
        trial: Json = self._post(f"/v1/studies/{self._asked}/trials:suggest", {"client_id": "scene"})["trials"][0]
        case.path_parameters |= {"study": self._asked}
        if "number" in case.path_parameters:
            case.path_parameters["number"] = trial["number"]
        return trial

    def close(self) -> None:
        """Nobody asks any more."""
        if self._asked is not None and not self._store.study(self._asked).state.is_final:
            self._post(f"/v1/studies/{self._asked}:cancel", {})
            while not self._store.study(self._asked).state.is_final:
                time.sleep(0.05)


def _package(number: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mine.py", f"number = {number}\n")
    return file.getvalue()
