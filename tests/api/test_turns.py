"""What takes long takes turns: a few at a time, fewer of one project, and nobody keeps a turn by sending slowly."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi.routing import APIRoute

from api.app import GUARDED
from api.errors import ApiError
from api.turns import A_PROJECT, AT_ONCE, MAX_WAITING, Turns, to_reckon, to_submit

SUBMISSIONS = {
    "POST /v1/studies", "POST /v1/studies:validate", "POST /v1/studies:import", "POST /v1/studies/{study}:fork",
}  # fmt: skip
RECKONINGS = {
    "POST /v1/studies:preview", "GET /v1/studies/{study}/report", "GET /v1/studies/{study}/importance",
    "GET /v1/studies/{study}/pareto", "GET /v1/studies/{study}/rungs", "GET /v1/studies/{study}/rungs/{step}",
}  # fmt: skip


class Hall:
    """Requests that stay in their turn until they are let go."""

    def __init__(self) -> None:
        self.turns, self.go = Turns(), asyncio.Event()
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def request(self, project: str) -> None:
        async with self.turns.of(project):
            for key in (project, "all"):
                self.now[key] += 1
                self.most[key] = max(self.most[key], self.now[key])
            await self.go.wait()
            await asyncio.sleep(0)
            self.now.subtract((project, "all"))


def test_a_few_run_at_a_time_and_one_project_leaves_room_for_others() -> None:
    async def scene() -> Hall:
        hall = Hall()
        greedy = [asyncio.create_task(hall.request("greedy")) for _ in range(30)]
        await asyncio.sleep(0.01)
        assert hall.now == {"greedy": A_PROJECT, "all": A_PROJECT}
        others = [asyncio.create_task(hall.request(name)) for name in ("modest", "quiet")]
        await asyncio.sleep(0.01)
        assert hall.now["modest"] == 1
        hall.go.set()
        await asyncio.wait_for(asyncio.gather(*greedy, *others), 10)
        return hall

    hall = asyncio.run(scene())
    assert A_PROJECT < AT_ONCE
    assert hall.most == {"greedy": A_PROJECT, "all": AT_ONCE, "modest": 1, "quiet": 1}
    assert not hall.turns._here
    assert not hall.turns._projects


def test_whoever_fails_or_goes_leaves_his_turn() -> None:
    async def scene() -> None:
        turns = Turns()
        for _ in range(2 * AT_ONCE):
            with pytest.raises(ValueError, match="broken"):
                async with turns.of("red"):
                    raise ValueError("broken")
        hall = Hall()
        tasks = [asyncio.create_task(hall.request("red")) for _ in range(5)]
        await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        hall.go.set()
        await asyncio.wait_for(hall.request("red"), 10)
        assert not hall.turns._here

    asyncio.run(scene())


def test_where_too_many_wait_more_are_told_to_come_again_and_other_projects_are_not() -> None:
    async def scene() -> None:
        hall = Hall()
        tasks = [asyncio.create_task(hall.request("red")) for _ in range(A_PROJECT + MAX_WAITING)]
        await asyncio.sleep(0.05)
        with pytest.raises(ApiError) as refused:
            await hall.request("red")
        assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "5"})
        other = asyncio.create_task(hall.request("blue"))
        hall.go.set()
        await asyncio.wait_for(asyncio.gather(*tasks, other), 10)

    asyncio.run(scene())


@pytest.mark.parametrize(("turn", "those"), [(to_submit, SUBMISSIONS), (to_reckon, RECKONINGS)])
def test_every_route_that_takes_long_takes_turns(turn: object, those: set[str]) -> None:
    routes = [route for module in GUARDED for route in module.router.routes if isinstance(route, APIRoute)]
    found = {
        f"{method} {route.path_format}"
        for route in routes
        if any(each.dependency is turn for each in route.dependencies)
        for method in route.methods
    }
    assert found == those


def test_nobody_holds_a_turn_by_sending_slowly(server: str, token: str, http: httpx.Client, spec: Any) -> None:
    parts = urlsplit(server)
    head = (
        f"POST /v1/studies HTTP/1.1\r\nHost: hpo\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    slow = [socket.create_connection((parts.hostname, parts.port)) for _ in range(2 * AT_ONCE)]
    for each in slow:
        each.sendall(head.encode())
    for _ in range(3):
        assert http.post("/v1/studies:validate", json={"spec": spec}).status_code == 200
    for each in slow:
        each.close()
