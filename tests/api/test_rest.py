"""What the service answers when all is well."""

from __future__ import annotations

import hashlib
import io
import math
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from api import examples
from api.schemas.studies import EventAnswer
from api.schemas.trials import InheritanceAnswer, TrialAnswer
from api.settings import Settings
from hpo.protocols import Store
from hpo.trial import Inheritance, StudyState

Fill = Callable[..., None]


def test_a_study_is_queued_with_its_address_and_etag(http: httpx.Client, store: Store, spec: dict[str, Any]) -> None:
    response = http.post("/v1/studies", json={"spec": spec, "package": None})
    assert response.status_code == 201
    assert response.headers["location"] == "/v1/studies/mine"
    assert response.headers["etag"] == '"1"'
    assert response.json()["state"] == "queued"
    shown = http.get(response.headers["location"])
    assert shown.headers["etag"] == '"1"'
    assert shown.json()["incumbent"] is None
    assert shown.json()["spec"]["budget"]["trials"] == 8
    assert store.study("mine").state is StudyState.QUEUED


def test_validation_creates_nothing_and_fills_in_defaults(
    http: httpx.Client, store: Store, spec: dict[str, Any]
) -> None:
    response = http.post("/v1/studies:validate", json={"spec": spec})
    assert response.status_code == 200
    assert response.json()["spec"]["retry"] == {"lost_workers": 2, "errors": 0}
    assert list(store.studies().items) == []


def test_studies_come_in_pages(http: httpx.Client, spec: dict[str, Any]) -> None:
    names = [f"study-{number}" for number in range(5)]
    for name in names:
        http.post("/v1/studies", json={"spec": spec | {"name": name}})
    found: list[str] = []
    token: str | None = None
    while True:
        query = {"page_size": 2} | ({"page_token": token} if token else {})
        page = http.get("/v1/studies", params=query).json()
        found += [study["name"] for study in page["items"]]
        token = page["next_page_token"]
        if token is None:
            break
    assert found == names[::-1]
    assert http.get("/v1/studies", params={"state": "running"}).json()["items"] == []


def test_a_study_shows_its_counts_and_its_best_trial(http: httpx.Client, fill: Fill, spec: dict[str, Any]) -> None:
    fill(spec)
    shown = http.get("/v1/studies/mine").json()
    assert shown["counts"]["trials"]["completed"] == 3
    assert shown["counts"]["trials"]["stopped"] == 1
    assert shown["counts"]["steps"] == 4
    assert shown["incumbent"]["number"] == 3


def test_trials_come_by_number_or_by_value(http: httpx.Client, fill: Fill, spec: dict[str, Any]) -> None:
    fill(spec)

    def numbers(**query: Any) -> list[int]:
        return [trial["number"] for trial in http.get("/v1/studies/mine/trials", params=query).json()["items"]]

    assert numbers() == [0, 1, 2, 3]
    assert numbers(order_by="value") == [3, 2, 1, 0]
    assert numbers(state="stopped") == [3]
    assert http.get("/v1/studies/mine/trials/2").json()["params"]["units"] == 3


def test_the_best_come_with_their_checkpoints(http: httpx.Client, fill: Fill, spec: dict[str, Any]) -> None:
    fill(spec)
    best = http.get("/v1/studies/mine/best", params={"count": 2}).json()["items"]
    assert [trial["number"] for trial in best] == [3, 2]
    assert best[0]["checkpoint"]["path"] == "/somewhere/3"


def test_numbers_that_json_lacks_come_as_their_names(http: httpx.Client, fill: Fill, spec: dict[str, Any]) -> None:
    fill(spec)
    for path in ("trials/0/measurements", "measurements"):
        report = http.get(f"/v1/studies/mine/{path}").json()["items"][0]
        assert report["metrics"] == {"loss": 10.0, "odd": "NaN", "far": "Infinity"}
    assert http.get("/v1/studies/mine/decisions").json()["items"][0]["cutoff"] in ("-Infinity", None)
    assert len(http.get("/v1/studies/mine/decisions", params={"trial": 1}).json()["items"]) == 1
    assert http.get("/v1/studies/mine/trials/0/checkpoints").json()["items"][0]["size_bytes"] == 7


def test_the_family_tree_comes_in_the_order_in_which_it_grew(
    http: httpx.Client, store: Store, fill: Fill, spec: dict[str, Any]
) -> None:
    fill(spec, end=None)
    assert http.get("/v1/studies/mine/inheritances").json() == {"items": []}
    lease = store.claim("mine", holder="test", lease_seconds=60)
    rows = [
        Inheritance(
            study="mine", trial=trial, generation=generation, donor=2, donor_generation=0, step=4,
            params={"lr": math.inf, "units": 4, "on": True, "名": "满"}, path="/somewhere/2", reason="为何",
            recorded_at=8.0,
        )
        for trial, generation in ((3, 1), (1, 1), (3, 2))
    ]  # fmt: skip
    store.write(lease, rows)
    items = http.get("/v1/studies/mine/inheritances").json()["items"]
    assert [(edge["trial"], edge["generation"]) for edge in items] == [(3, 1), (1, 1), (3, 2)]
    assert items[0] == {
        "trial": 3, "generation": 1, "donor": 2, "donor_generation": 0, "step": 4,
        "params": {"lr": "Infinity", "units": 4, "on": True, "名": "满"}, "path": "/somewhere/2", "reason": "为何",
        "recorded_at": 8.0,
    }  # fmt: skip
    assert [type(value) for value in items[0]["params"].values()] == [str, int, bool, str]
    assert http.get("/v1/studies/mine/inheritances", params={"trial": 3}).json()["items"] == [items[0], items[2]]
    assert http.get("/v1/studies/mine/inheritances", params={"trial": 0}).json()["items"] == []
    assert http.get("/v1/studies/mine/inheritances", params={"trial": -1}).status_code == 422
    assert http.get("/v1/studies/other/inheritances").status_code == 404


def test_a_trial_shows_which_configuration_gave_its_value(
    http: httpx.Client, store: Store, fill: Fill, spec: dict[str, Any]
) -> None:
    fill(spec, end=None)
    lease = store.claim("mine", holder="test", lease_seconds=60)
    now = store.trial("mine", 1)
    past = {"lr": 0.5, "units": 1, "on": True}
    store.write(lease, [replace(now, generation=2, value_generation=1, value_params=past)])
    shown = http.get("/v1/studies/mine/trials/1").json()
    assert (shown["generation"], shown["value_generation"]) == (2, 1)
    assert shown["value_params"] == past
    assert [type(value) for value in shown["value_params"].values()] == [float, int, bool]
    assert shown["params"] == now.params
    others = http.get("/v1/studies/mine/trials").json()["items"]
    assert [trial["value_params"] for trial in others] == [None, past, None, None]
    assert [trial["value_generation"] for trial in others] == [0, 1, 0, 0]


def test_a_final_study_is_deleted(http: httpx.Client, fill: Fill, spec: dict[str, Any]) -> None:
    fill(spec)
    assert http.delete("/v1/studies/mine").status_code == 204
    assert http.get("/v1/studies/mine").status_code == 404


def test_health_needs_no_token(server: str) -> None:
    assert httpx.get(f"{server}/healthz", trust_env=False).json()["status"] == "alive"
    ready = httpx.get(f"{server}/readyz", trust_env=False)
    assert ready.status_code == 200
    assert ready.json()["parts"]["store"]["ok"]


def test_a_store_that_is_down_makes_the_service_unready(
    http: httpx.Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hpo.errors import StoreError

    def down(self: object) -> None:
        raise StoreError("postgresql://user:secret@host is down")

    monkeypatch.setattr(type(store), "ping", down)
    answer = http.get("/readyz")
    assert answer.status_code == 503
    assert not answer.json()["parts"]["store"]["ok"]
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("answer", "example"),
    [(TrialAnswer, examples.TRIAL), (InheritanceAnswer, examples.INHERITANCE), (EventAnswer, examples.EVENT)],
)
def test_what_openapi_shows_of_an_answer_is_whole(
    http: httpx.Client, answer: type[BaseModel], example: dict[str, Any]
) -> None:
    assert answer.model_validate(example).model_dump(mode="json") == example
    [shown] = http.get("/openapi.json").json()["components"]["schemas"][answer.__name__]["examples"]
    assert shown == {key: value for key, value in example.items() if value is not None}


def test_the_api_process_loads_neither_torch_nor_tune_nor_models() -> None:
    code = (
        "import sys, api.app, api.cli, cluster.jobs, api.client, hpo.registry\n"
        "bad = [m for m in ('torch', 'ray.tune', 'ray.train', 'optuna', 'models.seqgan') if m in sys.modules]\n"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _zip(files: dict[str, bytes]) -> tuple[str, bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return f"sha256:{hashlib.sha256(buffer.getvalue()).hexdigest()}", buffer.getvalue()


class TestPackages:
    def test_a_package_is_stored_once_and_gives_a_study_its_trainable(
        self, http: httpx.Client, settings: Settings, spec: dict[str, Any]
    ) -> None:
        digest, content = _zip({"theirs.py": b"def train(params, trial): ...\n", "data/a.txt": b"a"})
        assert http.put(f"/v1/packages/{digest}", content=content).status_code == 201
        assert http.put(f"/v1/packages/{digest}", content=content).status_code == 200
        folder = settings.package_folder / digest.removeprefix("sha256:")
        assert (folder / "data" / "a.txt").read_bytes() == b"a"
        assert [path.name for path in settings.package_folder.iterdir()] == [folder.name]
        spec["trainable"] = "theirs:train"
        assert http.post("/v1/studies", json={"spec": spec}).status_code == 422
        created = http.post("/v1/studies", json={"spec": spec, "package": digest})
        assert created.status_code == 201, created.text
        assert created.json()["package"] == digest

    @pytest.mark.parametrize("name", ["../out.py", "/etc/out.py", "a/../../out.py", "..\\out.py"])
    def test_a_name_that_leads_out_is_refused(self, http: httpx.Client, settings: Settings, name: str) -> None:
        digest, content = _zip({"fine.py": b"", name: b"x"})
        response = http.put(f"/v1/packages/{digest}", content=content)
        assert response.status_code == 422
        assert "leads out" in response.json()["detail"]
        assert list(settings.package_folder.iterdir()) == []
        assert not list(settings.home.rglob("out.py"))

    def test_a_symbolic_link_is_refused(self, http: httpx.Client, settings: Settings) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            link = zipfile.ZipInfo("link")
            link.external_attr = 0o120777 << 16
            archive.writestr(link, "/etc/passwd")
        digest = f"sha256:{hashlib.sha256(buffer.getvalue()).hexdigest()}"
        assert http.put(f"/v1/packages/{digest}", content=buffer.getvalue()).status_code == 422

    def test_what_is_no_zip_file_is_refused(self, http: httpx.Client, settings: Settings) -> None:
        content = b"PK\x03\x04 nonsense"
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert http.put(f"/v1/packages/{digest}", content=content).status_code == 422
        assert list(settings.package_folder.iterdir()) == []

    def test_another_digest_is_refused(self, http: httpx.Client, settings: Settings) -> None:
        response = http.put(f"/v1/packages/sha256:{'0' * 64}", content=_zip({"a.py": b""})[1])
        assert response.status_code == 422
        assert "digest" in response.json()["detail"]
        assert list(settings.package_folder.iterdir()) == []

    def test_a_package_that_was_never_uploaded_is_refused(
        self, http: httpx.Client, store: Store, spec: dict[str, Any]
    ) -> None:
        response = http.post("/v1/studies", json={"spec": spec, "package": f"sha256:{'0' * 64}"})
        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"] == "/package"
        assert list(store.studies().items) == []
