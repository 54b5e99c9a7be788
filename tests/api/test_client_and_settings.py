"""The client and the settings."""

from __future__ import annotations

import os
import stat
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api.client import Client, zipped
from api.settings import Settings
from hpo import specfile
from hpo.errors import ServiceError
from hpo.protocols import Store
from hpo.store import open_store
from hpo.trial import Inheritance


def test_errors_carry_the_problems_fields(client: Client, spec: dict[str, Any]) -> None:
    spec["budget"]["trials"] = 0
    with pytest.raises(ServiceError) as caught:
        client.create_study(spec)
    assert caught.value.status == 422
    assert caught.value.problems[0].pointer == "/budget/trials"
    assert str(caught.value.problems[0]).startswith("budget.trials: 0: ")


def test_a_study_goes_there_and_back(client: Client, spec: dict[str, Any]) -> None:
    parsed = specfile.parse(spec)
    assert client.validate(parsed) == parsed
    assert client.create_study(parsed).spec == parsed
    assert client.study("mine").spec == parsed
    assert [study.name for study in client.studies().items] == ["mine"]


def test_the_family_tree_comes_through_the_client(client: Client, store: Store, spec: dict[str, Any]) -> None:
    client.create_study(spec)
    assert client.inheritances("mine") == []
    common = {"study": "mine", "generation": 1, "donor_generation": 0, "step": 4, "path": "/p", "recorded_at": 8.0}
    rows = [Inheritance(**common, trial=trial, donor=2, params={"lr": 0.5, "units": trial}) for trial in (3, 1)]
    store.write(store.claim("mine", holder="test", lease_seconds=60), rows)
    found = client.inheritances("mine")
    assert [{"study": "mine"} | edge.model_dump() for edge in found] == [asdict(row) for row in rows]
    assert client.inheritances("mine", trial=1) == found[1:]
    with pytest.raises(ServiceError, match="other"):
        client.inheritances("other")


def test_a_service_that_is_away_is_told_with_the_remedy() -> None:
    with Client("http://127.0.0.1:9", "x") as client, pytest.raises(ServiceError, match="hpo up") as caught:
        client.studies()
    assert caught.value.status is None


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(502, text="<html>bad gateway</html>"),
        httpx.Response(500, json=["no", "problem"]),
        httpx.Response(200, text="hello"),
    ],
)
def test_an_answer_of_another_program_is_an_error(answer: httpx.Response) -> None:
    with Client("http://x", "t", transport=httpx.MockTransport(lambda request: answer)) as client:
        with pytest.raises(ServiceError) as caught:
            client.study("mine")
        assert caught.value.status == answer.status_code


class TestPackages:
    def test_the_same_files_give_the_same_bytes_and_rubbish_stays_out(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            folder = tmp_path / name
            (folder / "deep").mkdir(parents=True)
            (folder / "mine.py").write_text("x = 1")
            (folder / "deep" / "data.txt").write_text("y")
            os.utime(folder / "mine.py", (len(name), 1e9 if name == "a" else 1.5e9))
        for rubbish in (".git", ".venv", "__pycache__", "node_modules", ".hpo"):
            (tmp_path / "b" / "deep" / rubbish).mkdir()
            (tmp_path / "b" / "deep" / rubbish / "file").write_text("z")
        assert zipped(tmp_path / "a") == zipped(tmp_path / "b")

    def test_a_folder_that_is_too_large_is_refused_before_it_is_sent(self, tmp_path: Path) -> None:
        for number in range(6):
            (tmp_path / f"{number}.bin").write_bytes(os.urandom(10_000_000))
        with pytest.raises(ServiceError, match="50,000,000 bytes"):
            zipped(tmp_path)

    def test_a_folder_is_uploaded(self, client: Client, settings: Settings, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text("x = 1")
        digest = client.upload_package(tmp_path)
        assert client.upload_package(tmp_path) == digest
        assert (settings.package_folder / digest.removeprefix("sha256:") / "mine.py").read_text() == "x = 1"

    def test_no_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ServiceError, match="no such folder"):
            zipped(tmp_path / "nowhere")


class TestSettings:
    def test_everything_is_absolute_and_lies_in_the_home(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        settings = Settings()
        assert settings.home == tmp_path / ".hpo"
        assert settings.database_url == f"sqlite:///{tmp_path}/.hpo/hpo.db"
        assert settings.storage == tmp_path / ".hpo" / "storage"
        assert settings.url == "http://127.0.0.1:8000"

    def test_the_environment_counts(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        for key, value in {
            "HPO_HOME": "h", "HPO_DATABASE_URL": "sqlite:///x.db", "HPO_STORAGE": "s", "HPO_PORT": "81", "HPO_URL": "http://a/"
        }.items():  # fmt: skip
            monkeypatch.setenv(key, value)
        settings = Settings()
        assert settings.job_environment() == {
            "HPO_HOME": f"{tmp_path}/h",
            "HPO_DATABASE_URL": f"sqlite:///{tmp_path}/x.db",
            "HPO_STORAGE": f"{tmp_path}/s",
        }
        assert settings.url == "http://a"

    def test_the_token_is_written_once_for_its_owner_only(self, tmp_path: Path) -> None:
        settings = Settings(home=tmp_path / "home")
        assert settings.known_token() is None
        token = settings.ensure_token()
        assert len(token) >= 32
        assert settings.ensure_token() == token == settings.known_token()
        assert stat.S_IMODE((tmp_path / "home" / "token").stat().st_mode) == 0o600

    def test_a_home_is_made_for_its_owner_only_and_one_that_is_there_stays_as_it_is(self, tmp_path: Path) -> None:
        homes = [tmp_path / name for name in ("token", "database", "there")]
        homes[2].mkdir(mode=0o755)
        Settings(home=homes[0]).ensure_token()
        for home in homes[1:]:
            open_store(Settings(home=home).database_url).close()
        assert [stat.S_IMODE(home.stat().st_mode) for home in homes] == [0o700, 0o700, 0o755]

    def test_the_token_of_a_cluster_elsewhere_is_given_and_that_of_our_own_is_found(self, tmp_path: Path) -> None:
        settings = Settings(home=tmp_path)
        assert settings.known_ray_token() is None
        (tmp_path / "ray_token").write_text("found\n", encoding="utf-8")
        assert settings.known_ray_token() == "found"
        assert Settings(home=tmp_path, ray_token=SecretStr("given")).known_ray_token() == "given"

    def test_a_given_token_wins_and_isnt_shown(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("HPO_TOKEN", "the-secret")
        settings = Settings(home=tmp_path)
        assert settings.ensure_token() == "the-secret"
        assert "the-secret" not in repr(settings)
        assert not (tmp_path / "token").exists()
