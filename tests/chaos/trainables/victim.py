"""A trainable that writes down what it is at, so that somebody can kill it, or another, at that very moment."""

import json
import os
import time
from pathlib import Path


def train(params, trial):
    """The loss falls towards (x - 0.3)^2; every step saves a checkpoint, slowly."""

    def note(*words):
        log = os.open(params["moments"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, " ".join(map(str, (*words, "\n"))).encode())
        os.close(log)

    def at(moment, step):
        if trial.rank == 0:
            note(moment, trial.number, step)

    note("rank", trial.rank, os.getpid())

    source = trial.resume or trial.inherit
    start = json.loads((source / "step.json").read_text())["step"] if source else 0
    at("exploit" if trial.inherit else "suggest", start)
    for step in range(start + 1, trial.max_steps + 1):
        time.sleep(params["seconds"])

        def save(folder: Path, step=step):
            at("checkpoint", step)
            time.sleep(params["seconds"] / 2)
            (folder / "step.json").write_text(json.dumps({"step": step}))

        at("finish" if step == trial.max_steps else "report", step)
        trial.report(step, {"loss": (params["x"] - 0.3) ** 2 + 1 / step}, checkpoint=save)
