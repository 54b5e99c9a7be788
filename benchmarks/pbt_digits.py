"""Population-based training, ours and Ray Tune's, and no inheritance: a population of 8 on the same network and steps.

Every member trains STEPS steps, `--groups` of them at once; what counts is the best held-out loss. Ours runs its
scheduler and ledger on a simulated cluster whose trials really train (and some seeds on Ray, by the engine); Ray's
PopulationBasedTraining on its own function API. All perturb at every step, with the same quantile (.25), resample
probability (.25) and factors (.8, 1.2), and draw their first configurations from the same ranges. Ray's skips steps
when a member inherits from one that is further on, so ours is also read off within as many steps as Ray's took.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

import digits_mlp  # noqa: E402
import numpy as np  # noqa: E402
from table import options, show  # noqa: E402
from trained_cluster import TrainedCluster  # noqa: E402

from cluster import local  # noqa: E402
from cluster.session import connected  # noqa: E402
from hpo.spec import StudySpec  # noqa: E402
from hpo.specfile import parse  # noqa: E402

MEMBERS, STEPS = 8, 20
RAYS, ON_RAY = "Ray Tune's pbt", "hpo pbt, on Ray"
SCHEDULERS: dict[str, dict[str, Any]] = {
    "no inheritance": {"algorithm": "fifo"},
    "hpo pbt": {"algorithm": "pbt"},
    "hpo pbt, synchronous": {"algorithm": "pbt", "synchronous": True},
}


def spec_of(scheduler: dict[str, Any], seed: int) -> StudySpec:
    return parse(
        {
            "name": "digits",
            "trainable": "digits_mlp:train",
            "parameters": digits_mlp.PARAMETERS,
            "objective": {"metric": "loss", "direction": "minimize"},
            "budget": {"trials": MEMBERS, "steps_per_trial": STEPS},
            "scheduler": scheduler,
            "seed": seed,
        }
    )


def ours(scheduler: dict[str, Any], seed: int, groups: int) -> dict[str, Any]:
    """The losses in the order of their reports and the number of inheritances, on a simulated cluster."""
    cluster = TrainedCluster(spec_of(scheduler, seed), groups)
    cluster.run()
    trials = cluster.trials()
    reports = sorted(
        (each.recorded_at, each.trial, each.metrics["loss"]) for one in trials for each in one.measurements
    )
    return {
        "losses": [loss for _, _, loss in reports],
        "inheritances": sum(trial.trial.generation for trial in trials),
    }


def on_ray(scheduler: dict[str, Any], seed: int, folder: Path, groups: int) -> dict[str, Any]:
    """The same by our engine, on the Ray cluster at hand."""
    from hpo.driver import drive
    from hpo.store import open_store

    store = open_store(f"sqlite:///{folder / f'ours-{seed}.db'}")
    spec = spec_of(scheduler, seed).model_copy(update={"concurrency": groups})
    store.create_study(spec)
    study = drive(store, spec.name, folder / f"storage-{seed}")
    assert study.state == "succeeded", study.message
    found = {
        "losses": [each.metrics["loss"] for each in store.measurements(spec.name, page_size=1000).items],
        "inheritances": len(store.inheritances(spec.name)),
    }
    store.close()
    return found


def rays(seed: int, folder: Path, groups: int) -> dict[str, Any]:
    """The same by Ray Tune's PopulationBasedTraining."""
    import random

    from ray import tune
    from ray.tune.schedulers import PopulationBasedTraining

    losses: list[float] = []

    class Seen(tune.Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            losses.append(result["loss"])

    def train(config):
        import digits_mlp
        import numpy as np
        from ray import tune

        member = np.random.default_rng((seed, int(config["member"] * 1e9))).integers(2**31)
        model, finished = digits_mlp.Mlp(member), 0
        checkpoint = tune.get_checkpoint()
        if checkpoint:
            with checkpoint.as_directory() as path:
                model.load(path)
                finished = int((Path(path) / "step").read_text())
        for step in range(finished + 1, STEPS + 1):
            model.step(config, np.random.default_rng((member, step)))
            with tempfile.TemporaryDirectory() as path:
                model.save(path)
                (Path(path) / "step").write_text(str(step))
                tune.report({"loss": model.loss(), "step": step}, checkpoint=tune.Checkpoint.from_directory(path))

    # The scheduler draws from the global generators.
    random.seed(seed)
    np.random.seed(seed)
    space: dict[str, Any] = {
        "lr": tune.loguniform(1e-4, 1.0),
        "momentum": tune.uniform(0.0, 0.99),
        "weight_decay": tune.loguniform(1e-6, 0.1),
        "dropout": tune.uniform(0.0, 0.8),
        "batch_size": tune.lograndint(8, 129),
    }

    def clipped(config):
        """As ours: within the ranges. Ray's own perturbation leaves them."""
        for name, parameter in digits_mlp.PARAMETERS.items():
            config[name] = min(max(config[name], parameter["low"]), parameter["high"])
        return config

    scheduler = PopulationBasedTraining(
        time_attr="step", metric="loss", mode="min", perturbation_interval=1, hyperparam_mutations=space,
        quantile_fraction=0.25, resample_probability=0.25, perturbation_factors=(1.2, 0.8),
        custom_explore_fn=clipped, log_config=False,
    )  # fmt: skip
    tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space={**space, "member": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(
            scheduler=scheduler, num_samples=MEMBERS, max_concurrent_trials=groups, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder / f"ray-{seed}"), callbacks=[Seen()], stop={"step": STEPS}, verbose=0
        ),
    ).fit()
    return {"losses": losses, "inheritances": scheduler._num_perturbations}


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--seeds", type=int, default=10, help="runs of each")
    parser.add_argument("--on-ray", type=int, default=2, help="runs of ours that are repeated on the Ray cluster")
    parser.add_argument("--groups", type=int, default=2, help="trials at once")
    parser.add_argument("--out", type=Path, default=Path(".hpo/benchmarks/pbt_digits.jsonl"), help="finished runs")
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    kept = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.is_file() else []
    done = {(run["way"], run["seed"]) for run in kept}

    def keep(way: str, seed: int, work: Callable[[], dict[str, Any]]) -> None:
        if (way, seed) in done:
            return
        began = time.perf_counter()
        run = {"way": way, "seed": seed, **work()} | {"seconds": time.perf_counter() - began}
        kept.append(run)
        with given.out.open("a") as file:
            file.write(json.dumps(run) + "\n")
        print(
            f"{way}, seed {seed}: {min(run['losses']):.4f} in {len(run['losses'])} steps", file=sys.stderr, flush=True
        )

    for seed in range(given.seeds):
        for way, scheduler in SCHEDULERS.items():
            keep(way, seed, partial(ours, scheduler, seed, given.groups))
    with tempfile.TemporaryDirectory(prefix="hpo-bench-") as name:
        folder = Path(name)
        head = local.up(folder / "home", dashboard_port=local._free_ports(1)[0], num_cpus=given.groups)
        try:
            with connected(local.environment(head), working_dir=HERE):
                for seed in range(given.seeds):
                    keep(RAYS, seed, partial(rays, seed, folder, given.groups))
                for seed in range(given.on_ray):
                    keep(ON_RAY, seed, partial(on_ray, SCHEDULERS["hpo pbt"], seed, folder, given.groups))
        finally:
            local.down(folder / "home")
    table(kept, given.save)


def table(kept: list[dict[str, Any]], save: bool) -> None:
    """Each way beside Ray's: over all of its steps, and within as many as Ray's run of the same seed took."""
    steps_of_rays = {run["seed"]: len(run["losses"]) for run in kept if run["way"] == RAYS}
    rows, figures = [], {}
    for way in dict.fromkeys(run["way"] for run in kept):
        runs = [run for run in kept if run["way"] == way]
        best = [min(run["losses"]) for run in runs]
        level = [min(run["losses"][: steps_of_rays[run["seed"]]]) for run in runs if run["seed"] in steps_of_rays]
        rows.append(
            {
                "way": way,
                "seeds": len(runs),
                "steps": statistics.mean(len(run["losses"]) for run in runs),
                "best held-out loss": with_error(best),
                "within as many steps as Ray's": with_error(level),
                "inheritances": statistics.mean(run["inheritances"] for run in runs),
                "s": statistics.median(run["seconds"] for run in runs),
            }
        )
        figures[way] = round(statistics.mean(level), 4)
    show("pbt_digits", rows, figures, save=save)


def with_error(values: list[float]) -> str:
    """Mean ± its standard error."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{statistics.mean(values):.4f} ± {error:.4f}"


if __name__ == "__main__":
    main()
