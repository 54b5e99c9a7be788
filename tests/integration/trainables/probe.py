"""Trainables for the tests on a real cluster: tiny, and badly behaved on demand."""

import json
import os
import time
from pathlib import Path


def curve(params, trial):
    """A learning curve that ends at (x - 0.3)^2; steady, so that what ASHA stops is known."""
    source = trial.resume or trial.inherit
    start = json.loads((source / "step.json").read_text())["step"] if source else 0
    if "pids" in params:
        Path(params["pids"], f"{trial.number}-{trial.rank}-{os.getpid()}").touch()
    for step in range(start + 1, trial.max_steps + 1):
        time.sleep(params.get("seconds", 0.0))
        if "trained" in params and trial.rank == 0:
            with Path(params["trained"]).open("a") as log:
                log.write(f"{trial.number} {step}\n")
        if trial.world_size > 1:
            import torch

            total = torch.ones(1)
            torch.distributed.all_reduce(total)
            assert total.item() == trial.world_size
        text = json.dumps({"step": step})
        trial.report(
            step,
            {"loss": (params["x"] - 0.3) ** 2 + 1 / step},
            checkpoint=lambda folder, text=text: (folder / "step.json").write_text(text),
        )


def misbehave(params, trial):
    """Fails in the way that `kind` names."""
    match params["kind"]:
        case "raise":
            raise ValueError("the learning rate is too funny")
        case "exit":
            raise SystemExit(3)
        case "nan":
            trial.report(1, {"loss": float("nan")})
        case "backwards":
            trial.report(2, {"loss": 1.0})
            trial.report(1, {"loss": 1.0})
        case "silent":
            return
        case "other":
            trial.report(1, {"accuracy": 1.0})
        case _:
            for step in range(1, trial.max_steps + 1):
                trial.report(step, {"loss": 1.0 / step})


def hungry(params, trial):
    """Says what its workers see of the cluster."""
    trial.report(1, {"loss": float(trial.world_size)})
