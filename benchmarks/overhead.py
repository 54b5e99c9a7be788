"""What the engine costs beside Ray Tune itself: the same trivial trials by ours and by plain Tune, in one run.

Ours is the real driver: a study in SQLite, a lease, events, worker groups, a report that waits for its decision. Plain
is Tune as fast as it goes here: a class Trainable that Tune resets and uses again (`reuse_actors=True`), random search,
no scheduler, no loggers, no printing. Both train as many trials at once, of as many reports, on one local Ray head,
turn by turn (ours, plain, ours, plain …), since other work on the machine comes and goes.

Wall clock is of the whole call, with the start of what each needs: worker groups here, trial actors there. It is a
constant, paid once, and so much a trial. `a trial` is measured in the steady state, from the end of the first tenth of
the trials to the end of the last one, and the constant is what is left of the wall clock. Trials that cost nothing make
the constant weigh the most that it ever can.

`ratio` and `steady_ratio` are ours to plain in wall clock and a trial: the median over the turns, of whichever number
of reports comes out worse for us.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from table import options, show  # noqa: E402

from cluster import local  # noqa: E402
from cluster.session import connected  # noqa: E402

WAYS = ("hpo", "plain Ray Tune")
REPORTS = (1, 5)
"""Reports a trial: with one a trial is nearly all start and end, with five the reports weigh as much."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One study or experiment, in seconds."""

    wall: float
    """The whole call."""
    steady: float
    """A trial, once things run: from the end of the first tenth of the trials to the end of the last."""
    constant: float
    """What is left of the wall clock when each trial has had its share: start and end."""


def timing(begin: float, end: float, ended: Sequence[float]) -> Timing:
    """From when a call began and returned, and when each trial ended, in any order. At least two trials."""
    ended = sorted(ended)
    first = len(ended) // 10
    steady = (ended[-1] - ended[first]) / (len(ended) - 1 - first)
    return Timing(end - begin, steady, end - begin - steady * len(ended))


def ratios(ours: Sequence[Timing], plain: Sequence[Timing]) -> tuple[float, float]:
    """Median over the turns of ours to plain of the same turn: in wall clock, and a trial in the steady state."""
    pairs = list(zip(ours, plain, strict=True))
    wall = statistics.median(one.wall / other.wall for one, other in pairs)
    return wall, statistics.median(one.steady / other.steady for one, other in pairs)


def ours(num_trials: int, reports: int, concurrency: int, folder: Path) -> Timing:
    """A study by the driver, as a job of the service runs it."""
    from hpo.driver import drive
    from hpo.specfile import parse
    from hpo.store import open_store

    store = open_store(f"sqlite:///{folder / 'hpo.db'}")
    store.create_study(
        parse(
            {
                "name": "tiny",
                "trainable": "tiny:train",
                "parameters": {"x": {"type": "float", "low": 0, "high": 1}},
                "search": {"algorithm": "random"},
                "scheduler": {"algorithm": "fifo"},
                "objective": {"metric": "loss", "direction": "minimize"},
                "budget": {"trials": num_trials, "steps_per_trial": reports},
                "concurrency": concurrency,
            }
        )
    )
    begin = time.time()
    study = drive(store, "tiny", folder / "storage")
    end = time.time()
    assert study.state == "succeeded", study.message
    ended: list[float] = []
    token = None
    while True:
        page = store.trials("tiny", page_size=1000, page_token=token)
        ended += [trial.ended_at for trial in page.items if trial.ended_at is not None]
        token = page.next_page_token
        if token is None:
            break
    assert len(ended) == num_trials
    assert store.counts("tiny").steps == num_trials * reports
    store.close()
    return timing(begin, end, ended)


def plain(num_trials: int, reports: int, concurrency: int, folder: Path) -> Timing:
    """The same by Ray Tune alone."""
    from ray import tune

    class Tiny(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self._x = config["x"]

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._x = new_config["x"]
            return True

        def step(self) -> dict[str, float]:
            return {"loss": (self._x - 0.3) ** 2 + 1 / (self.iteration + 1)}

    ended: list[float] = []

    class Ends(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            ended.append(time.time())

    begin = time.time()
    results = tune.Tuner(
        tune.with_resources(Tiny, {"cpu": 1}),
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(num_samples=num_trials, max_concurrent_trials=concurrency, reuse_actors=True),
        run_config=tune.RunConfig(
            storage_path=str(folder / "tune"),
            stop={"training_iteration": reports},
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # it would save each trial
            callbacks=[Ends()],
            verbose=0,
        ),
    ).fit()
    end = time.time()
    assert results.num_terminated == len(ended) == num_trials
    return timing(begin, end, ended)


def measure(given: argparse.Namespace, folder: Path) -> dict[tuple[str, int], list[Timing]]:
    """Both ways and all numbers of reports, turn by turn on one head; the timings of each."""
    found: dict[tuple[str, int], list[Timing]] = {}
    head = local.up(folder / "home", dashboard_port=local._free_ports(1)[0], num_cpus=given.concurrency)
    try:
        with connected(local.environment(head), working_dir=HERE):
            for turn in range(given.repeats):
                for reports in given.reports:
                    for way, run in zip(WAYS, (ours, plain), strict=True):
                        (place := folder / f"{way.split()[0]}-{reports}-{turn}").mkdir()
                        taken = run(given.trials, reports, given.concurrency, place)
                        found.setdefault((way, reports), []).append(taken)
                        print(f"{way}, {reports} a trial: {taken}", file=sys.stderr, flush=True)
    finally:
        local.down(folder / "home")
    return found


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--reports", type=int, nargs="+", default=list(REPORTS), help="reports a trial")
    parser.add_argument("--concurrency", type=int, default=2, help="trials at once, one CPU each")
    parser.add_argument("--repeats", type=int, default=2, help="turns of ours and plain")
    given = parser.parse_args()
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # verbose=0 alone still prints a table
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # plain Tune writes no files either
    with tempfile.TemporaryDirectory(prefix="hpo-bench-") as name:
        found = measure(given, Path(name))
    rows: list[dict[str, Any]] = []
    for (way, reports), taken in found.items():
        rows.append(
            {
                "way": way,
                "trials": given.trials,
                "reports a trial": reports,
                "wall s, each turn": ", ".join(f"{one.wall:.1f}" for one in taken),
                "median wall s": statistics.median(one.wall for one in taken),
                "of it constant s": statistics.median(one.constant for one in taken),
                "ms a trial, each turn": ", ".join(f"{1000 * one.steady:.1f}" for one in taken),
            }
        )
    compared = {reports: ratios(*(found[way, reports] for way in WAYS)) for reports in given.reports}
    figures: dict[str, Any] = {
        "ratio": round(max(wall for wall, _ in compared.values()), 2),
        "steady_ratio": round(max(steady for _, steady in compared.values()), 2),
    }
    for reports, (wall, steady) in compared.items():
        figures |= {f"ratio_{reports}_reports": round(wall, 2), f"steady_ratio_{reports}_reports": round(steady, 2)}
    for way, key in zip(WAYS, ("ours", "plain"), strict=True):
        constants = [one.constant for reports in given.reports for one in found[way, reports]]
        figures[f"constant_{key}_s"] = round(statistics.median(constants), 1)
    show("overhead", rows, figures, save=given.save)


if __name__ == "__main__":
    main()
