"""A trainable that fills the disk below its checkpoints."""

import json
from pathlib import Path


def fills(params, trial):
    """Before the checkpoint of step `full_at`, and only once, all room goes to the file `filler`. Checkpoints are of
    `num_bytes` before, and of four times as many from then on: what the older ones leave isn't room enough."""
    start = json.loads((trial.resume / "step.json").read_text())["step"] if trial.resume else 0
    once = Path(params["once"])
    for step in range(start + 1, trial.max_steps + 1):
        if step == params["full_at"] and not once.exists():
            once.touch()
            _fill(Path(params["filler"]))

        def save(folder, step=step):
            (folder / "weights").write_bytes(bytes(params["num_bytes"] * (4 if step >= params["full_at"] else 1)))
            (folder / "step.json").write_text(json.dumps({"step": step}))

        trial.report(step, {"loss": (params["x"] - 0.3) ** 2 + 1 / step}, checkpoint=save)


def _fill(path):
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(100_000))
        except OSError:
            return
