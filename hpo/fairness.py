"""Who may train how much: divides a cluster between projects, and each project's part between its studies. Pure.

Progressive filling, group by group: the next worker group goes to the project with the lowest dominant share over its
weight, and in it to the study of the highest priority, of equals the one with the lowest dominant share. So what one
can't use goes to the others.

Dominant resource fairness: Ghodsi et al. 2011, "Dominant Resource Fairness: Fair Allocation of Multiple Resource
Types" (NSDI), algorithm 1. A dominant share is the largest part that somebody holds of any one resource of the cluster.
Unlike the paper: what is given is whole groups that must find place on nodes, there are quotas, and two levels.

All ties go to the study that was submitted first: so a study that needs much at once isn't overtaken for ever by small
ones that came later.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from hpo.room import Amount, Node, Room, amount, of_group, shortage
from hpo.spec import Resources
from hpo.tenancy import NO_LIMITS, Quotas
from hpo.trial import Waiting, WaitReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A project, as far as it counts here."""

    name: str
    quotas: Quotas = NO_LIMITS
    weight: float = 1.0
    """As that of an `hpo.tenancy.Project`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A study that trains or would like to."""

    study: str
    project: str
    resources: Resources
    wanted: int
    """Worker groups that it can use at most."""
    priority: int = 0
    submitted_at: float
    is_started: bool = False
    """Whether it has a driver, or is about to have one."""
    fixed: int | None = None
    """The groups that it holds and can't give back before it ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allotment:
    """What a study may do now."""

    share: int
    """Worker groups that it may hold."""
    starts: bool = False
    """Whether it is to get a driver now."""
    waiting: Waiting | None = None
    """Where it holds none: what for."""


@dataclass(slots=True)
class _Account:
    """A project while the cluster is filled."""

    tenant: Tenant
    queue: list[tuple[Any, ...]] = field(default_factory=list)
    used: Amount = (0, 0)
    trials: int = 0
    studies: int = 0


def divide(
    nodes: Sequence[Node],
    tenants: Iterable[Tenant],
    claims: Sequence[Claim],
    *,
    held: Mapping[str, float] | None = None,
) -> dict[str, Allotment]:
    """The allotment of every study, by its name.

    `held` are the CPUs and GPUs that somebody holds at this moment, if that is known: a study that isn't started starts
    once its smallest set, one worker group, is free beside that. O(groups × log studies).
    """
    return _Filling(nodes, tenants, claims).run(held or {})


class _Filling:
    def __init__(self, nodes: Sequence[Node], tenants: Iterable[Tenant], claims: Sequence[Claim]) -> None:
        self._nodes, self._room = nodes, Room(nodes)
        self._accounts = {tenant.name: _Account(tenant) for tenant in tenants}
        self._claims = sorted(claims, key=lambda claim: (-claim.priority, claim.submitted_at, claim.study))
        self._share = {claim.study: 0 for claim in claims}
        self._waits: dict[str, Waiting] = {}

    def run(self, held: Mapping[str, float]) -> dict[str, Allotment]:
        for claim in self._claims:
            self._accounts.setdefault(claim.project, _Account(Tenant(name=claim.project)))
        self._admit()
        self._fill()
        return self._allotments(held)

    def _admit(self) -> None:
        """Line up who may hold anything: the studies that are started, and as many more as `max_studies` says."""
        for claim in self._claims:
            self._accounts[claim.project].studies += claim.is_started
            for _ in range(claim.fixed or 0):
                self._room.take(claim.resources)
                self._give(claim)
        for claim in self._claims:
            account = self._accounts[claim.project]
            most = account.tenant.quotas.max_studies
            if claim.fixed is not None:
                continue
            if not Room(self._nodes).take(claim.resources):
                self._waits[claim.study] = Waiting(WaitReason.TOO_LARGE, shortage(claim.resources, self._nodes))
            elif not claim.is_started and most is not None and account.studies >= most:
                self._waits[claim.study] = Waiting(
                    WaitReason.MAX_STUDIES,
                    f"quota max_studies of project {claim.project} is {most}: {account.studies} are at work",
                )
            else:
                account.studies += not claim.is_started
                heapq.heappush(account.queue, self._place_in_line(claim))

    def _fill(self) -> None:
        line = [self._turn(account) for account in self._accounts.values() if account.queue]
        heapq.heapify(line)
        while line:
            *_, name = heapq.heappop(line)
            account = self._accounts[name]
            *_, claim = heapq.heappop(account.queue)
            # Room and quotas only shrink: what doesn't fit now won't later.
            if self._share[claim.study] < claim.wanted and (why := self._take(claim, account)) is None:
                heapq.heappush(account.queue, self._place_in_line(claim))
            elif not self._share[claim.study] and claim.wanted:
                assert why is not None
                self._waits[claim.study] = why
            if account.queue:
                heapq.heappush(line, self._turn(account))

    def _take(self, claim: Claim, account: _Account) -> Waiting | None:
        """Give the study one more group, or say why not."""
        quotas, gpus = account.tenant.quotas, of_group(claim.resources)[1]
        if quotas.max_trials is not None and account.trials + 1 > quotas.max_trials:
            return Waiting(
                WaitReason.MAX_TRIALS,
                f"quota max_trials of project {claim.project} is {quotas.max_trials}: its other studies use it up",
            )
        if gpus and quotas.max_gpus is not None and account.used[1] + gpus > amount(0, quotas.max_gpus)[1]:
            return Waiting(
                WaitReason.MAX_GPUS,
                f"quota max_gpus of project {claim.project} is {quotas.max_gpus:g}, and a trial needs "
                f"{gpus / 10_000:g}; its other studies use up the rest",
            )
        if not self._room.take(claim.resources):
            return self._no_room(claim)
        self._give(claim)
        return None

    def _give(self, claim: Claim) -> None:
        account, (cpus, gpus) = self._accounts[claim.project], of_group(claim.resources)
        account.used = account.used[0] + cpus, account.used[1] + gpus
        account.trials += 1
        self._share[claim.study] += 1

    def _no_room(self, claim: Claim) -> Waiting:
        above = [
            each.study
            for each in self._claims
            if each.project == claim.project and each.priority > claim.priority and self._share[each.study]
        ]
        if above:
            return Waiting(
                WaitReason.PRIORITY,
                f"studies of a higher priority in project {claim.project} come first: {_some(above)}",
            )
        cpus, gpus = self._room.free
        return Waiting(
            WaitReason.SHARE,
            f"{needs(claim.resources)}; of what is shared out, {_amounts(cpus, gpus)} are left",
        )

    def _allotments(self, held: Mapping[str, float]) -> dict[str, Allotment]:
        total = self._room.total
        promised = [0, 0]
        for claim in self._claims:
            if claim.is_started:
                for kind, each in enumerate(of_group(claim.resources)):
                    promised[kind] += each * self._share[claim.study]
        # What a driver that starts just now will hold isn't held yet; what somebody holds over his share still is.
        taken = [max(*pair) for pair in zip(promised, amount(held.get("CPU", 0), held.get("GPU", 0)), strict=True)]
        found = {}
        for claim in self._claims:
            share, waiting = self._share[claim.study], self._waits.get(claim.study)
            starts = share > 0 and not claim.is_started
            if starts:
                need = of_group(claim.resources)
                after = [each + more for each, more in zip(taken, need, strict=True)]
                if all(each <= most for each, most in zip(after, total, strict=True)):
                    taken = after
                else:
                    starts = False
                    waiting = Waiting(
                        WaitReason.ROOM, f"{needs(claim.resources)}; waits until trials of other studies are over"
                    )
            found[claim.study] = Allotment(share=share, starts=starts, waiting=waiting)
        return found

    # -- order ----------------------------------------------------------------------------------------------
    def _place_in_line(self, claim: Claim) -> tuple[Any, ...]:
        used = tuple(each * self._share[claim.study] for each in of_group(claim.resources))
        return -claim.priority, self._dominant(used), claim.submitted_at, claim.study, claim

    def _turn(self, account: _Account) -> tuple[Any, ...]:
        *_, first = account.queue[0]
        share = self._dominant(account.used) / Fraction(account.tenant.weight)
        return share, first.submitted_at, first.study, account.tenant.name

    def _dominant(self, used: tuple[int, ...]) -> Fraction:
        """The largest part of any of the cluster's resources."""
        return max(
            Fraction(each, total) if total else Fraction(0) for each, total in zip(used, self._room.total, strict=True)
        )


def needs(resources: Resources) -> str:
    """For people: `needs 2 workers of 4 CPUs at once`."""
    gpus = f" and {resources.gpus_per_worker:g} GPUs" if resources.gpus_per_worker else ""
    each = f"{resources.cpus_per_worker:g} CPUs{gpus}"
    return f"needs {each}" if resources.workers == 1 else f"needs {resources.workers} workers of {each} at once"


def most_groups(concurrency: int | None, trials: int, ended: int) -> int:
    """How many worker groups a study can use that has so many trials, of which some have ended; at least one, by which
    it comes to its end."""
    left = max(1, trials - ended)
    return left if concurrency is None else min(concurrency, left)


def _amounts(cpus: int, gpus: int) -> str:
    return f"{cpus / 10_000:g} CPUs" + (f" and {gpus / 10_000:g} GPUs" if gpus else "")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
