"""Population-based training, ours and Ray Tune's, and no inheritance: a population of 8 on the same network and steps.

Every run trains 8 × STEPS steps in all, `--groups` trials at once; what counts is the best held-out loss within them.
Ray's PopulationBasedTraining runs on its own function API; both perturb at every step, with the same quantile (.25),
resample probability (.25) and factors (.8, 1.2). All start from configurations drawn from the same ranges.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

import digits_mlp  # noqa: E402
import numpy as np  # noqa: E402
from table import options, show  # noqa: E402

from cluster import local  # noqa: E402
from cluster.session import connected  # noqa: E402

MEMBERS, STEPS = 8, 20
SCHEDULERS: dict[str, dict[str, Any]] = {
    "no inheritance": {"algorithm": "fifo"},
    "hpo pbt": {"algorithm": "pbt"},
    "hpo pbt, synchronous": {"algorithm": "pbt", "synchronous": True},
}


def ours(scheduler: dict[str, Any], seed: int, folder: Path, groups: int) -> dict[str, Any]:
    """The best loss, the steps and the number of inheritances of one study on the cluster at hand."""
    from hpo.driver import drive
    from hpo.specfile import parse
    from hpo.store import open_store

    name = f"{scheduler['algorithm']}-{'s' if scheduler.get('synchronous') else 'a'}-{seed}"
    store = open_store(f"sqlite:///{folder / 'hpo.db'}")
    store.create_study(
        parse(
            {
                "name": name,
                "trainable": "digits_mlp:train",
                "parameters": digits_mlp.PARAMETERS,
                "objective": {"metric": "loss", "direction": "minimize"},
                "budget": {"trials": MEMBERS, "steps_per_trial": STEPS, "total_steps": MEMBERS * STEPS},
                "scheduler": scheduler,
                "concurrency": groups,
                "seed": seed,
            }
        )
    )
    study = drive(store, name, folder / "storage")
    assert study.state == "succeeded", study.message
    measurements = store.measurements(name, page_size=1000).items
    found = {
        "loss": min(measurement.metrics["loss"] for measurement in measurements),
        "steps": len(measurements),
        "inheritances": len(store.inheritances(name)),
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
    counted = losses[: MEMBERS * STEPS]
    return {"loss": min(counted), "steps": len(counted), "inheritances": scheduler._num_perturbations}


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--seeds", type=int, default=10, help="runs of each")
    parser.add_argument("--groups", type=int, default=2, help="trials at once")
    parser.add_argument("--out", type=Path, default=Path(".hpo/benchmarks/pbt_digits.jsonl"), help="finished runs")
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    kept = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.is_file() else []
    done = {(run["way"], run["seed"]) for run in kept}
    ways = [*SCHEDULERS, "Ray Tune's pbt"]
    with tempfile.TemporaryDirectory(prefix="hpo-bench-") as name:
        folder = Path(name)
        head = local.up(folder / "home", dashboard_port=local._free_ports(1)[0], num_cpus=given.groups)
        try:
            with connected(local.environment(head), working_dir=HERE):
                for seed in range(given.seeds):
                    for way in ways:
                        if (way, seed) in done:
                            continue
                        began = time.perf_counter()
                        if way in SCHEDULERS:
                            run = ours(SCHEDULERS[way], seed, folder, given.groups)
                        else:
                            run = rays(seed, folder, given.groups)
                        run |= {"way": way, "seed": seed, "seconds": time.perf_counter() - began}
                        kept.append(run)
                        with given.out.open("a") as file:
                            file.write(json.dumps(run) + "\n")
                        print(json.dumps(run), file=sys.stderr, flush=True)
        finally:
            local.down(folder / "home")
    rows, figures = [], {}
    for way in ways:
        runs = [run for run in kept if run["way"] == way]
        losses = [run["loss"] for run in runs]
        error = statistics.stdev(losses) / math.sqrt(len(losses)) if len(losses) > 1 else 0.0
        rows.append(
            {
                "way": way,
                "seeds": len(runs),
                "steps": statistics.mean(run["steps"] for run in runs),
                "best held-out loss": f"{statistics.mean(losses):.4f} ± {error:.4f}",
                "inheritances": statistics.mean(run["inheritances"] for run in runs),
                "s": statistics.median(run["seconds"] for run in runs),
            }
        )
        figures[way] = round(statistics.mean(losses), 4)
    show("pbt_digits", rows, figures, save=given.save)


if __name__ == "__main__":
    main()
