"""What nodes have room for: the one way in which hpo counts workers into nodes.

Ray counts resources in units of 1/10,000, and so does this: integers, so that 0.3 / 0.1 is 3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from hpo.spec import Resources

Node = Mapping[str, float]
"""A node's resources in all, such as {"CPU": 8.0, "GPU": 1.0}."""
Amount = tuple[int, int]
"""CPUs and GPUs, in units of 1/10,000."""
UNITS = 10_000


def amount(cpus: float, gpus: float) -> Amount:
    return round(cpus * UNITS), round(gpus * UNITS)


def of_worker(resources: Resources) -> Amount:
    """What one worker needs."""
    return amount(resources.cpus_per_worker, resources.gpus_per_worker)


def of_group(resources: Resources) -> Amount:
    """What one worker group needs: a trial, and the least that a study can do anything with."""
    cpus, gpus = of_worker(resources)
    return cpus * resources.workers, gpus * resources.workers


class Room:
    """Nodes that are filled group by group. A worker needs one node; the workers of a group may be on several."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        # Alike nodes are one entry: a thousand of them are looked through as one.
        self._nodes = Counter(amount(node.get("CPU", 0), node.get("GPU", 0)) for node in nodes)
        self.total: Amount = self.free

    @property
    def free(self) -> Amount:
        """What all nodes have left together."""
        cpus = sum(cpus * count for (cpus, _), count in self._nodes.items())
        return cpus, sum(gpus * count for (_, gpus), count in self._nodes.items())

    def take(self, resources: Resources) -> bool:
        """Place one more group; False, and nothing is taken, where it doesn't fit.

        Each worker goes to the fullest node that holds it, and to one without GPUs where it needs none.
        """
        need, nodes = of_worker(resources), self._nodes.copy()
        for _ in range(resources.workers):
            fitting = [node for node in nodes if node[0] >= need[0] and node[1] >= need[1]]
            if not fitting:
                return False
            node = min(fitting, key=lambda each: (each[1], each[0]))
            nodes[node] -= 1
            if not nodes[node]:
                del nodes[node]
            nodes[node[0] - need[0], node[1] - need[1]] += 1
        self._nodes = nodes
        return True


def workers_on(resources: Resources, node: Node) -> int:
    """How many workers an empty node holds."""
    needs, has = of_worker(resources), amount(node.get("CPU", 0), node.get("GPU", 0))
    return min(most // need for need, most in zip(needs, has, strict=True) if need)


def shortage(resources: Resources, nodes: Sequence[Node]) -> str:
    """For people: why not even one group fits on empty nodes, with the figures."""
    lacks = []
    for kind, each in (("CPU", resources.cpus_per_worker), ("GPU", resources.gpus_per_worker)):
        needed, there = resources.workers * each, sum(node.get(kind, 0) for node in nodes)
        if needed > there:
            lacks.append(f"needs {needed:g} {kind}s, the cluster has {there:g}")
    if not lacks:
        demand = f"{resources.cpus_per_worker:g} CPUs and {resources.gpus_per_worker:g} GPUs each"
        room = sum(workers_on(resources, node) for node in nodes)
        lacks.append(f"needs {resources.workers} workers of {demand}, and the nodes have room for {room}")
    return f"a trial {'; '.join(lacks)}: ask for less under [resources], or add nodes to the cluster"
