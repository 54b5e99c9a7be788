"""How many worker groups a cluster can hold at once."""

from __future__ import annotations

from collections.abc import Sequence

from hpo.errors import PlacementError
from hpo.room import Node, shortage, workers_on
from hpo.spec import Resources


def groups_that_fit(resources: Resources, nodes: Sequence[Node], *, at_most: int) -> int:
    """How many groups of `resources.workers` workers the nodes hold together, from 1 to `at_most`.

    A worker needs one node; the workers of a group may be on several. Raises PlacementError where not even one
    group will ever fit, with the figures.
    """
    workers = sum(workers_on(resources, node) for node in nodes)
    groups = min(workers // resources.workers, at_most)
    if groups == 0:
        raise PlacementError(shortage(resources, nodes))
    return groups
