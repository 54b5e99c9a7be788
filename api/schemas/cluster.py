"""Answers about the cluster: what it has, who holds how much of it, and who waits for what."""

from __future__ import annotations

from pydantic import ConfigDict

from api import examples
from api.schemas.base import Answer
from api.schemas.service import Part
from api.schemas.studies import WaitingAnswer
from hpo.trial import StudyState, WaitReason


class AmountAnswer(Answer):
    """CPUs and GPUs."""

    cpus: float
    """Logical ones, as Ray counts them."""
    gpus: float
    """A trial may hold a part of one."""


class NodesAnswer(AmountAnswer):
    """Nodes of one size, with what each of them has."""

    count: int
    """How many there are."""


class ProjectUseAnswer(AmountAnswer):
    """What a project's worker groups hold now."""

    project: str | None
    """Its name; null for all others together: the projects that the token isn't for, and programs that aren't
    studies of this service."""
    weight: float | None
    """How much it gets beside others that want more than there is; null for the others together."""
    studies: int
    """How many of its studies are starting or running."""
    waiting: int
    """How many of its studies may train nothing now."""


class StudyUseAnswer(AmountAnswer):
    """What a study's worker groups hold now."""

    study: str
    """Its name."""
    project: str
    """The one that it belongs to."""
    state: StudyState
    """Queued, starting or running."""
    priority: int
    """Its rank among the studies of its project."""
    share: int | None
    """How many trials it may train at once; null where nobody has said so yet."""
    waiting: WaitingAnswer | None
    """What it waits for, where it may train nothing; else null."""


class ClusterAnswer(Answer):
    """What the cluster has, who holds how much of it, and who waits for what; a second old at most."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.CLUSTER]})

    ray: Part
    """Whether Ray says what there is. While it doesn't, there are no nodes here, and nobody holds anything."""
    nodes: list[NodesAnswer]
    """The nodes that are alive, those of one size together, the largest first."""
    total: AmountAnswer
    """What they have together."""
    held: AmountAnswer | None
    """What of that somebody holds, whoever it is, as of some seconds ago; null where Ray doesn't say."""
    projects: list[ProjectUseAnswer]
    """The projects that the token is for, by name; the others as one, at the end."""
    waiting: dict[WaitReason, int]
    """How many studies of the whole service wait for what; each reason has its number."""
    items: list[StudyUseAnswer]
    """The queued, starting and running studies of these projects whose trainings are Ray's, by name."""
    next_page_token: str | None
    """For the next page of them; null on the last."""
