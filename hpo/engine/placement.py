"""How many worker groups a cluster can hold at once."""

from __future__ import annotations

from collections.abc import Sequence

from hpo.errors import PlacementError
from hpo.room import Node
from hpo.spec import Resources


def groups_that_fit(resources: Resources, nodes: Sequence[Node], *, at_most: int) -> int:
    """How many groups of `resources.workers` workers the nodes hold together, from 1 to `at_most`.

    A worker needs one node; the workers of a group may be on several. Raises PlacementError where not even one
    group will ever fit, with the figures.
    """
    workers = sum(_workers_on(resources, node) for node in nodes)
    groups = min(workers // resources.workers, at_most)
    if groups == 0:
        raise PlacementError(_refusal(resources, nodes, workers))
    return groups


def _workers_on(resources: Resources, node: Node) -> int:
    # Ray counts resources in units of 1/10,000: integers, so that 0.3 / 0.1 is 3.
    fits = [round(node.get("CPU", 0) * 10_000) // round(resources.cpus_per_worker * 10_000)]
    if resources.gpus_per_worker > 0:
        fits.append(round(node.get("GPU", 0) * 10_000) // round(resources.gpus_per_worker * 10_000))
    return min(fits)


def _refusal(resources: Resources, nodes: Sequence[Node], workers: int) -> str:
    lacks = []
    for kind, each in (("CPU", resources.cpus_per_worker), ("GPU", resources.gpus_per_worker)):
        needed, there = resources.workers * each, sum(node.get(kind, 0) for node in nodes)
        if needed > there:
            lacks.append(f"needs {needed:g} {kind}s, the cluster has {there:g}")
    if not lacks:
        demand = f"{resources.cpus_per_worker:g} CPUs and {resources.gpus_per_worker:g} GPUs each"
        lacks.append(f"needs {resources.workers} workers of {demand}, and the nodes have room for {workers}")
    return f"a trial {'; '.join(lacks)}: ask for less under [resources], or add nodes to the cluster"
