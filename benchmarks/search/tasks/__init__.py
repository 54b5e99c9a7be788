"""The benchmark's tasks by name: `family-instance`, such as `lcbench-167168`.

PUBLIC tasks are what the report is about. An algorithm may be tuned on DEVELOPMENT tasks and on no others. HELD_OUT
ones were drawn at random from the rest, to see how it does on what it was not chosen by. Any other instance of a family
is a task too. A new family is a class (see `protocol.Task`) and a line in FAMILIES.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.search.tasks.digits import Digits
from benchmarks.search.tasks.protocol import MissingDataError, Task
from benchmarks.search.tasks.synthetic import CountingOnes, Hartmann
from benchmarks.search.tasks.tables import Table
from benchmarks.search.tasks.yahpo import Surrogate

__all__ = ["DEVELOPMENT", "FAMILIES", "HELD_OUT", "PUBLIC", "MissingDataError", "Task", "make"]

FAMILIES: dict[str, Callable[[str], Task]] = {
    "lcbench": lambda instance: Surrogate("lcbench", instance),
    "rbv2_xgboost": lambda instance: Surrogate("rbv2_xgboost", instance),
    "rbv2_rpart": lambda instance: Surrogate("rbv2_rpart", instance),
    "nasbench201": lambda instance: Table("nasbench201", instance),
    "hpolib": lambda instance: Table("hpolib", instance),
    "hpobench": lambda instance: Table("hpobench", instance),
    "mfh6": Hartmann,
    "countones": CountingOnes,
    "digits": Digits,
}
"""From the first part of a task's name to what makes the task of the rest."""

PUBLIC = (
    "lcbench-167168",
    "lcbench-189873",
    "rbv2_xgboost-4534",
    "rbv2_xgboost-1489",
    "nasbench201-cifar100",
    "hpolib-slice_localization",
    "mfh6-good",
    "countones-8+8",
)
DEVELOPMENT = (
    "lcbench-3945",
    "lcbench-126026",
    "lcbench-168330",
    "rbv2_xgboost-40981",
    "rbv2_rpart-41138",
    "rbv2_rpart-1040",
    "nasbench201-cifar10",
    "hpolib-protein_structure",
    "hpobench-vehicle",
    "mfh6-bad",
    "countones-4+4",
    "digits-mlp",
    "lcbench-126029",
    "lcbench-168329",
    "lcbench-168331",
    "lcbench-168910",
    "rbv2_xgboost-12",
    "rbv2_xgboost-181",
    "rbv2_xgboost-470",
    "rbv2_xgboost-41156",
    "rbv2_rpart-23",
)
HELD_OUT = (
    "lcbench-146212",
    "lcbench-167184",
    "lcbench-167185",
    "lcbench-189865",
    "rbv2_xgboost-54",
    "rbv2_xgboost-1476",
    "rbv2_xgboost-1480",
    "rbv2_xgboost-40975",
    "rbv2_rpart-18",
    "rbv2_rpart-31",
    "nasbench201-imagenet",
    "hpolib-naval_propulsion",
    "hpolib-parkinsons_telemonitoring",
    "hpobench-kc1",
    "hpobench-segment",
)


def make(name: str) -> Task:
    """The task of this name. Raises ValueError for a name that none has, MissingDataError where its data is absent."""
    family, _, instance = name.partition("-")
    if family not in FAMILIES:
        raise ValueError(f"{name!r} is no task: its family is one of {', '.join(FAMILIES)}, for example {PUBLIC[0]}")
    return FAMILIES[family](instance)
