"""What it costs to start a trial: our warm worker groups against Ray's documented way, side by side in one run.

Documented (Ray 2.60, "Hyperparameter Tuning with Ray Tune"): a Tune function that builds a TorchTrainer with
TuneReportCallback and calls fit(). Both run trials of 5 reports one at a time, one worker of one CPU each, on one and
the same Ray head. Ours pays its cold start within the figure.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

from table import options, show  # noqa: E402

from cluster import local  # noqa: E402
from cluster.session import connected  # noqa: E402

REPORTS = 5


def ours(num_trials: int, folder: Path) -> tuple[float, list[float]]:
    """Wall clock seconds of the study, and each trial's seconds from its start to its first report."""
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
                "objective": {"metric": "loss", "direction": "minimize"},
                "budget": {"trials": num_trials, "steps_per_trial": REPORTS},
                "concurrency": 1,
            }
        )
    )
    begin = time.perf_counter()
    study = drive(store, "tiny", folder / "storage")
    seconds = time.perf_counter() - begin
    assert study.state == "succeeded", study.message
    trials = store.trials("tiny", page_size=1000).items
    reported = store.measurements("tiny", page_size=1000).items
    assert len(reported) == num_trials * REPORTS
    first = {measurement.trial: measurement.recorded_at for measurement in reversed(reported)}
    store.close()
    return seconds, [first[trial.number] - (trial.started_at or trial.created_at) for trial in trials]


def documented(num_trials: int, folder: Path) -> tuple[float, list[float]]:
    """The same by Ray's documented way."""
    import ray.train
    from ray import tune
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    def loop(config):
        for step in range(1, REPORTS + 1):
            metrics = {"loss": (config["x"] - 0.3) ** 2 + 1 / step, "reported_at": time.time()}
            ray.train.report({**metrics, "began_at": config["began_at"], "step": step})

    def trial(config):
        run = RunConfig(
            name=f"documented-{tune.get_context().get_trial_id()}",
            storage_path=str(folder),
            callbacks=[TuneReportCallback()],
        )
        scaling = ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1})
        TorchTrainer(
            loop, train_loop_config={**config, "began_at": time.time()}, scaling_config=scaling, run_config=run
        ).fit()

    first: dict[str, float] = {}

    class FirstReport(tune.Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            first.setdefault(trial.trial_id, result["reported_at"] - result["began_at"])

    begin = time.perf_counter()
    tune.Tuner(
        tune.with_resources(trial, {"cpu": 0.01}),
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(num_samples=num_trials, max_concurrent_trials=1),
        run_config=tune.RunConfig(storage_path=str(folder / "tune"), callbacks=[FirstReport()], verbose=0),
    ).fit()
    return time.perf_counter() - begin, list(first.values())


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--trials", type=int, default=30, help="trials of ours")
    parser.add_argument("--documented-trials", type=int, default=6, help="trials the documented way; taken per trial")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hpo-bench-") as name:
        folder = Path(name)
        head = local.up(folder / "home", dashboard_port=local._free_ports(1)[0], num_cpus=2)
        try:
            with connected(local.environment(head), working_dir=HERE):
                theirs_seconds, theirs_first = documented(arguments.documented_trials, folder)
                our_seconds, our_first = ours(arguments.trials, folder)
        finally:
            local.down(folder / "home")
    each = theirs_seconds / arguments.documented_trials
    warm = statistics.median(our_first[1:])
    rows = [
        {
            "way": "documented: a TorchTrainer a trial",
            "trials": arguments.documented_trials,
            "wall s": theirs_seconds,
            "s a trial": each,
            "median s to the first report": statistics.median(theirs_first),
        },
        {
            "way": "hpo: warm worker groups",
            "trials": arguments.trials,
            "wall s": our_seconds,
            "s a trial": our_seconds / arguments.trials,
            "median s to the first report": warm,
        },
    ]
    figures = {
        "ratio": round(each * arguments.trials / our_seconds, 1),
        "median_first_report_s": round(warm, 4),
        "ours_s": round(our_seconds, 1),
        "documented_s_a_trial": round(each, 2),
    }
    show("trial_start", rows, figures, save=arguments.save)


if __name__ == "__main__":
    main()
