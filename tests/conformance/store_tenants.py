"""Projects, their quotas and studies, and tokens: one test a sentence of `hpo.tenancy.Tenants`."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier
from typing import Any

import pytest
from conformance.store_values import spec, walk

from hpo.errors import (
    InvalidPageError,
    InvalidTenantError,
    ProjectExistsError,
    ProjectNotEmptyError,
    ProjectNotFoundError,
    RequestKeyError,
    StudyExistsError,
    StudyNotFoundError,
    TokenExistsError,
    TokenNotFoundError,
)
from hpo.protocols import Store
from hpo.steering import RequestKey, Verb
from hpo.tenancy import Quotas, Role, Token
from hpo.trial import StudyState

KEY = RequestKey("key", "digest")
NO_NAMES = ["", "Ours", "ours-", "ours theirs", "o" * 64, "our\x00s", "ours\n"]


class TenantConformance:
    # -- projects -----------------------------------------------------------------------------------------
    def test_a_new_project_reads_back_the_same(self, store: Store, peer: Store) -> None:
        quotas = Quotas(max_trials=8, max_gpus=1.5)
        project = store.create_project("ours", quotas, weight=2.5)
        assert (project.name, project.quotas, project.quotas.max_studies) == ("ours", quotas, None)
        assert project.weight == 2.5
        assert store.project("ours") == peer.project("ours") == project

    def test_the_project_of_a_study_is_known_by_its_name(self, store: Store, peer: Store) -> None:
        store.create_project("ours")
        store.create_study(spec(), project="ours")
        assert store.project_of(spec().name) == peer.project_of(spec().name) == "ours"
        with pytest.raises(StudyNotFoundError):
            store.project_of("nobody")

    def test_the_default_project_is_there_from_the_start_without_a_limit(self, store: Store) -> None:
        assert store.project("default").quotas == Quotas()
        assert store.create_study(spec()).project == "default"

    def test_a_taken_name_is_refused_and_nothing_changes(self, store: Store, peer: Store) -> None:
        project = store.create_project("ours", Quotas(max_trials=1))
        with pytest.raises(ProjectExistsError, match="'ours' exists already"):
            peer.create_project("ours")
        assert store.project("ours") == project

    @pytest.mark.parametrize("name", NO_NAMES)
    def test_what_can_be_no_name_is_refused_and_not_found(self, store: Store, name: str) -> None:
        with pytest.raises(InvalidTenantError, match=r"can't name a project: .*; choose another"):
            store.create_project(name)
        with pytest.raises(InvalidTenantError, match="can't name a token"):
            store.create_token("id", "digest", project="default", name=name, role=Role.READER)
        uses: list[Callable[[], object]] = [
            lambda: store.project(name),
            lambda: store.change_project(name, {}),
            lambda: store.delete_project(name),
            lambda: store.tokens(name),
            lambda: store.create_token("id", "digest", project=name, name="ann", role=Role.READER),
            lambda: store.create_study(spec(), project=name),
        ]
        for use in uses:
            with pytest.raises(ProjectNotFoundError):
                use()
        with pytest.raises(TokenNotFoundError):
            store.revoke_token("default", name)
        assert store.authenticate(name, "digest") is None
        assert store.studies(project=name).items == []
        assert [project.name for project in store.projects().items] == ["default"]

    @pytest.mark.parametrize("value", [-1, -0.5, math.nan, math.inf, 2.0**70])
    def test_what_can_be_no_quota_is_refused_and_nothing_changes(self, store: Store, value: float) -> None:
        before = store.create_project("ours", Quotas(max_studies=0))
        for change in ({"max_gpus": value}, {"max_trials": 1, "max_studies": value}, {"max_gpu": 1}):
            with pytest.raises(InvalidTenantError, match="quota"):
                store.change_project("ours", change)
        assert store.project("ours") == before

    def test_a_change_sets_what_it_names_and_none_takes_a_limit_away(self, store: Store, peer: Store) -> None:
        store.create_project("ours", Quotas(max_trials=8, max_gpus=2))
        changed = peer.change_project("ours", {"max_trials": None, "max_studies": 3})
        assert changed.quotas == Quotas(max_gpus=2, max_studies=3)
        assert store.project("ours") == changed
        assert store.project("default").quotas == Quotas()

    @pytest.mark.parametrize("weight", [0, -1.0, 1e-9, 1001, math.nan, math.inf])
    def test_what_can_be_no_weight_is_refused_and_nothing_changes(self, store: Store, weight: float) -> None:
        before = store.create_project("ours", weight=3)
        with pytest.raises(InvalidTenantError, match=r"is no weight: it must be from 0\.001 to 1000"):
            store.change_project("ours", {"max_trials": 1}, weight=weight)
        assert store.project("ours") == before
        with pytest.raises(InvalidTenantError, match="is no weight"):
            store.create_project("theirs", weight=weight)
        assert [project.name for project in store.projects().items] == ["default", "ours"]

    def test_quotas_and_weight_change_apart(self, store: Store, peer: Store) -> None:
        store.create_project("ours", Quotas(max_trials=8))
        assert store.project("ours").weight == store.project("default").weight == 1
        assert peer.change_project("ours", weight=0.5) == store.project("ours")
        assert (store.project("ours").weight, store.project("ours").quotas) == (0.5, Quotas(max_trials=8))
        assert store.change_project("ours", {"max_trials": None}).weight == 0.5

    def test_projects_are_listed_by_name_in_pages(self, store: Store) -> None:
        names = [f"p-{number:02}" for number in range(7)]
        for name in reversed(names):
            store.create_project(name, Quotas(max_trials=1))
        assert [project.name for project in walk(store.projects, 3)] == ["default", *names]
        assert store.projects().items[1] == store.project("p-00")
        with pytest.raises(InvalidPageError):
            store.projects(page_token=store.studies(page_size=1).next_page_token or "x")

    def test_an_empty_project_is_deleted_with_its_tokens(self, store: Store, peer: Store) -> None:
        store.create_project("ours")
        store.create_token("id", "digest", project="ours", name="ann", role=Role.ADMIN)
        peer.delete_project("ours")
        assert store.authenticate("id", "digest") is None
        with pytest.raises(ProjectNotFoundError):
            store.project("ours")
        store.create_project("ours")
        assert store.tokens("ours").items == []

    def test_a_project_with_studies_and_the_default_one_stay(self, store: Store) -> None:
        store.create_project("ours")
        store.create_study(spec(), project="ours")
        store.set_study_state("s", StudyState.FAILED)
        with pytest.raises(ProjectNotEmptyError, match="'ours' has 1 studies"):
            store.delete_project("ours")
        store.delete_study("s")
        store.delete_project("ours")
        with pytest.raises(ProjectNotEmptyError, match=r"'default' .* stays"):
            store.delete_project("default")
        assert [project.name for project in store.projects().items] == ["default"]

    def test_of_a_deletion_and_a_new_study_at_once_one_is_refused(self, store: Store, peer: Store) -> None:
        def create() -> bool:
            barrier.wait()
            with suppress(ProjectNotFoundError):
                store.create_study(spec(), project="ours")
                return True
            return False

        def delete() -> bool:
            barrier.wait()
            with suppress(ProjectNotEmptyError):
                peer.delete_project("ours")
                return True
            return False

        for _ in range(3):
            store.create_project("ours")
            barrier = Barrier(2)
            with ThreadPoolExecutor(2) as threads:
                first, second = threads.submit(create), threads.submit(delete)
                assert first.result() is not second.result()
            if first.result():
                store.set_study_state("s", StudyState.FAILED)
                store.delete_study("s")
                store.delete_project("ours")

    # -- studies of projects ------------------------------------------------------------------------------
    def test_a_study_belongs_to_its_project_whatever_becomes_of_it(self, store: Store, peer: Store) -> None:
        store.create_project("ours")
        study = store.create_study(spec(), project="ours", who="token:ann")
        assert (study.project, study.share, study.waiting) == ("ours", None, None)
        [line] = store.events("s")
        assert line.data == {"who": "token:ann"}
        store.set_study_state("s", StudyState.RUNNING)
        store.steer("s", Verb.CHANGE, {"changes": {"priority": 2}}, who="ann")
        assert peer.study("s").project == "ours"

    def test_a_name_is_taken_in_all_projects(self, store: Store) -> None:
        store.create_project("ours")
        store.create_study(spec())
        with pytest.raises(StudyExistsError):
            store.create_study(spec(), project="ours")

    def test_studies_are_listed_by_project_and_state_in_pages(self, store: Store) -> None:
        store.create_project("ours")
        for number in range(6):
            store.create_study(spec(f"s-{number}"), project=("default", "ours")[number % 2])
        store.set_study_state("s-3", StudyState.RUNNING)
        ours = walk(lambda **page: store.studies(project="ours", **page), 1)
        assert [study.name for study in ours] == ["s-5", "s-3", "s-1"]
        assert [study.name for study in store.studies(project="ours", state=StudyState.QUEUED).items] == ["s-5", "s-1"]
        assert store.studies(project="theirs").items == []
        token = store.studies(project="ours", page_size=1).next_page_token
        with pytest.raises(InvalidPageError):
            store.studies(project="default", page_token=token)

    def test_a_key_of_one_project_says_nothing_of_anothers(self, store: Store, peer: Store) -> None:
        store.create_project("ours")
        store.create_study(spec(), request=KEY)
        with pytest.raises(StudyExistsError):
            peer.create_study(spec(), project="ours", request=KEY)
        created = peer.create_study(spec("t"), project="ours", request=KEY)
        assert store.create_study(spec("t"), project="ours", request=KEY) == created
        with pytest.raises(RequestKeyError):
            store.steer("t", Verb.PAUSE, who="ann", request=RequestKey("key", "other"))
        store.create_study(spec("u"), project="ours", request=RequestKey("key-2", "digest"))
        assert store.steer("s", Verb.PAUSE, who="ann", request=RequestKey("key-2", "digest")).state == "paused"

    # -- tokens -------------------------------------------------------------------------------------------
    def test_a_token_lets_in_who_has_its_secret(self, store: Store, peer: Store) -> None:
        made = token(store, "id", expires_at=4e9)
        assert made == Token(
            id="id", project="default", role=Role.SUBMITTER, name="ann", created_at=made.created_at, expires_at=4e9
        )
        found = peer.authenticate("id", "digest-id")
        assert found is not None
        assert found.last_used_at is not None
        assert found.last_used_at >= made.created_at
        for id, digest in (("id", "digest-other"), ("other", "digest-id"), ("id", ""), ("", "")):
            assert peer.authenticate(id, digest) is None

    def test_a_use_is_noted_once_a_minute(self, store: Store, peer: Store) -> None:
        token(store, "id")
        first = store.authenticate("id", "digest-id")
        assert first == peer.authenticate("id", "digest-id") == store.tokens("default").items[0]

    def test_a_token_that_has_run_out_or_is_revoked_is_known_but_not_live(self, store: Store, peer: Store) -> None:
        token(store, "old", name="old", expires_at=1.0)
        token(store, "id", expires_at=4e9)
        revoked = peer.revoke_token("default", "id")
        assert revoked.revoked_at is not None
        assert store.revoke_token("default", "id") == revoked
        for id, expected in (("old", 1.0), ("id", 4e9)):
            found = store.authenticate(id, f"digest-{id}")
            assert found is not None
            assert (found.expires_at, found.last_used_at) == (expected, None)
            assert not found.is_live(revoked.revoked_at)

    def test_a_name_is_one_live_tokens_in_its_project(self, store: Store, peer: Store) -> None:
        store.create_project("ours")
        token(store, "one")
        token(store, "two", project="ours")
        with pytest.raises(TokenExistsError, match="'default' is named 'ann' already"):
            token(peer, "three")
        store.revoke_token("default", "one")
        token(peer, "three")
        assert [(each.id, each.name) for each in store.tokens("default").items] == [("three", "ann"), ("one", "ann")]

    def test_of_many_that_make_a_token_of_one_name_at_once_one_does(self, store: Store, peer: Store) -> None:
        def create(number: int) -> bool:
            barrier.wait()
            with suppress(TokenExistsError):
                token((store, peer)[number % 2], f"id-{number}")
                return True
            return False

        barrier = Barrier(6)
        with ThreadPoolExecutor(6) as threads:
            assert sum(threads.map(create, range(6))) == 1

    def test_tokens_are_listed_newest_first_in_pages_of_their_project_only(self, store: Store) -> None:
        store.create_project("ours")
        made = [token(store, f"id-{number}", name=f"n-{number}") for number in range(5)]
        token(store, "other", project="ours")
        assert walk(lambda **page: store.tokens("default", **page), 2) == made[::-1]
        assert [each.id for each in store.tokens("ours").items] == ["other"]

    def test_another_projects_token_is_not_revoked(self, store: Store) -> None:
        store.create_project("ours")
        token(store, "id", project="ours")
        with pytest.raises(TokenNotFoundError, match="'default' has no token 'id'"):
            store.revoke_token("default", "id")
        assert store.tokens("ours").items[0].revoked_at is None


def token(store: Store, id: str, **changes: Any) -> Token:
    values = {"project": "default", "name": "ann", "role": Role.SUBMITTER} | changes
    return store.create_token(id, f"digest-{id}", **values)
