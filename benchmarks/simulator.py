"""The simulator at scale: 10,000 workers and up to 100,000 trials, the time a report takes and the memory it leaves.

Each row is a process of its own. A report is all of it: the simulated step, the searcher, the scheduler's decision, and
the book-keeping; every trial and measurement is kept and returned. Steps take log-normal times with some stragglers.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from table import options, show  # noqa: E402

SCHEDULERS: dict[str, dict[str, Any]] = {
    "asha": {"algorithm": "asha"},
    "asha, promotion": {"algorithm": "asha", "variant": "promotion"},
    "hyperband": {"algorithm": "hyperband"},
    "median": {"algorithm": "median"},
    "pbt": {"algorithm": "pbt", "population": 10_000, "interval_steps": 3},
}
SIZES = (1_000, 10_000, 100_000)
STEPS = 9
WORKERS = 10_000


def run(scheduler: str, trials: int) -> dict[str, Any]:
    """Simulate one study in this process; CPU seconds and the most memory it had."""
    from hpo.simulate import REALISTIC, SimulatedCluster
    from hpo.specfile import parse

    options = dict(SCHEDULERS[scheduler])
    if "population" in options:
        options["population"] = min(options["population"], trials)
    spec = parse(
        {
            "name": "simulated",
            "trainable": "tests.nothing:train",
            "parameters": {
                "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True, "mutable": True},
                "width": {"type": "int", "low": 8, "high": 512, "log": True},
            },
            "objective": {"metric": "loss", "direction": "minimize"},
            "budget": {"trials": trials, "steps_per_trial": STEPS},
            "scheduler": options,
        }
    )

    def evaluate(params, from_step, to_step, rng):
        return {"loss": abs(params["lr"] - 0.01) + 1 / to_step + rng.gauss(0, 0.01)}, 1.0

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.process_time()
    cluster = SimulatedCluster(spec, evaluate, WORKERS, conditions=REALISTIC)
    cluster.run()
    seconds = time.process_time() - began
    ended = cluster.trials()
    reports = sum(len(trial.measurements) for trial in ended)
    assert len(ended) == trials
    assert all(trial.trial.state.is_final for trial in ended)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "scheduler": scheduler, "trials": trials, "reports": reports, "CPU s": seconds,
        "µs a report": 1e6 * seconds / reports, "MiB": most, "KiB a trial": 1024 * (most - before) / trials,
        "simulated s": cluster.now, "busy": cluster.busy_seconds / (cluster.workers * cluster.now),
    }  # fmt: skip


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Cost a report and memory against the number of trials, a line a scheduler."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, (cost, memory) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name in SCHEDULERS:
        of_one = [row for row in rows if row["scheduler"] == name]
        trials = [row["trials"] for row in of_one]
        cost.plot(trials, [row["µs a report"] for row in of_one], marker="o", label=name)
        memory.plot(trials, [row["MiB"] for row in of_one], marker="o", label=name)
    for axes, title in ((cost, "CPU time a report, µs"), (memory, "memory at most, MiB")):
        axes.set(xscale="log", xlabel="trials", title=title)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    cost.legend()
    figure.savefig(path)


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--one", nargs=2, metavar=("SCHEDULER", "TRIALS"), help="one row, as JSON")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(run(given.one[0], int(given.one[1]))))
        return
    rows = []
    for name in SCHEDULERS:
        for trials in SIZES:
            done = subprocess.run(
                [sys.executable, __file__, "--one", name, str(trials)], capture_output=True, text=True, check=True
            )
            rows.append(json.loads(done.stdout))
            print(rows[-1], file=sys.stderr, flush=True)
    largest = [row for row in rows if row["trials"] == max(SIZES)]
    if given.save:
        plot(rows, HERE / "results" / "simulator.svg")
    figures = {
        "slowest_s": round(max(row["CPU s"] for row in largest), 1),
        "most_mib": round(max(row["MiB"] for row in largest)),
    }
    show("simulator", rows, figures, save=given.save)


if __name__ == "__main__":
    main()
