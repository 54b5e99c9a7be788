"""What a swap costs: the headline model under population-based training, more members than worker groups.

Between the last report of a trial that pauses and the first of the trial that takes its group lie the decision, the
hand-over, reading the checkpoint, building the model, and one epoch. The trainable says how long its epoch took; the
rest is the swap. Two groups of two workers (gloo), a population of six.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

from table import options, show  # noqa: E402

from cluster import local  # noqa: E402
from cluster.session import connected  # noqa: E402

FIXED = {
    "hidden": 32, "embedding": 32, "article_length": 48, "headline_length": 24, "batch_size": 64, "mle_epochs": 20,
}  # fmt: skip


def swaps(folder: Path, steps: int) -> tuple[list[float], list[float], int]:
    """Seconds of each swap, of each epoch, and the number of inheritances."""
    from hpo.driver import drive
    from hpo.specfile import parse
    from hpo.store import open_store
    from hpo.trial import Event, Measurement

    store = open_store(f"sqlite:///{folder / 'hpo.db'}")
    store.create_study(
        parse(
            {
                "name": "swap",
                "trainable": "headlines",
                "parameters": {
                    "lr": {"type": "float", "low": 1e-4, "high": 3e-2, "log": True, "mutable": True},
                    "dropout": {"type": "float", "low": 0.0, "high": 0.5, "mutable": True},
                },
                "objective": {"metric": "perplexity", "direction": "minimize"},
                "budget": {"trials": 6, "steps_per_trial": steps},
                "scheduler": {"algorithm": "pbt", "population": 6},
                "resources": {"workers": 2},
                "fixed": FIXED,
                "concurrency": 2,
            }
        )
    )
    study = drive(store, "swap", folder / "storage")
    assert study.state == "succeeded", study.message
    last: dict[int, tuple[float, int]] = {}
    measured: Measurement | None = None
    found, epochs = [], []
    for _, row in store.history("swap"):
        if isinstance(row, Measurement):
            measured = row
        elif isinstance(row, Event) and row.kind == "trial.reported" and measured is not None and row.trial is not None:
            group = int(str(row.data["group"]))
            epochs.append(measured.metrics["seconds"])
            if group in last and last[group][1] != row.trial:
                found.append(row.recorded_at - last[group][0] - measured.metrics["seconds"])
            last[group] = row.recorded_at, row.trial
    inherited = len(store.inheritances("swap"))
    store.close()
    return found, epochs, inherited


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--steps", type=int, default=6, help="epochs a trial")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hpo-bench-") as name:
        folder = Path(name)
        head = local.up(folder / "home", dashboard_port=local._free_ports(1)[0], num_cpus=4)
        try:
            with connected(local.environment(head), working_dir=HERE):
                found, epochs, inherited = swaps(folder, given.steps)
        finally:
            local.down(folder / "home")
    found.sort()
    rows = [
        {
            "swaps": len(found),
            "of them inheritances": inherited,
            "median s": statistics.median(found),
            "90 % s": found[int(0.9 * len(found))],
            "slowest s": found[-1],
            "an epoch, median s": statistics.median(epochs),
        }
    ]
    show("swap", rows, {"median_s": round(statistics.median(found), 3), "max_s": round(found[-1], 3)}, save=given.save)


if __name__ == "__main__":
    main()
