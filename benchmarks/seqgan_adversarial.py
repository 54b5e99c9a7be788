"""Does adversarial training help headlines? Four continuations of one and the same teacher-forced model.

For each seed a model is trained by teacher forcing for most of its epochs. From its checkpoint go on: teacher forcing
alone (for the same epochs, and for the same CPU time on a schedule of its own, so with a higher rate), a constant
reward (no discriminator: a control), and SeqGAN, with as many policy-gradient updates as there are batches.

Sharper policies always look better, so quality is compared at one entropy: headlines are drawn at temperatures 0.5 to
1.2, and ROUGE-L and distinct-2 are read off at the entropy that the teacher-forced model has at temperature 1
("Language GANs Falling Short", Caccia et al. 2020).
"""

from __future__ import annotations

import contextlib
import json
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import numpy  # noqa: E402
import torch  # noqa: E402
from table import options, show  # noqa: E402

from models.context import LocalTrial  # noqa: E402
from models.seqgan.config import SeqGANConfig  # noqa: E402
from models.seqgan.decoding import Decoding  # noqa: E402
from models.seqgan.metrics import distinct_n, entropy_at, held_out, rouge_l  # noqa: E402
from models.seqgan.pipeline import write_headlines  # noqa: E402
from models.seqgan.sample import load_generator  # noqa: E402
from models.seqgan.train import fit  # noqa: E402
from models.text.pairs import load_pairs  # noqa: E402

TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
EPOCHS, CONTINUED = 5, 2
MODEL = {
    "embedding": 64, "hidden": 96, "article_length": 80, "headline_length": 32, "batch_size": 32, "dropout": 0.3,
    "lr": 6e-3, "mle_epochs": EPOCHS, "patience": 100,
}  # fmt: skip
ADVERSARIAL = {"adversarial_updates": 1000, "lambda_adv": 1.0, "n_rollouts": 4, "rollout_stride": 4}
VARIANTS: dict[str, dict[str, Any]] = {
    "teacher forcing": {},
    "continued, same epochs": {"mle_epochs": EPOCHS + CONTINUED},
    "continued, same CPU time": {"mle_epochs": 1000},
    "constant reward, no baseline": ADVERSARIAL | {"reward": "constant", "baseline": "none"},
    "SeqGAN": ADVERSARIAL,
}


class _UpTo(LocalTrial):
    """Ends after a number of epochs, whatever the schedule's length."""

    def __init__(self, workdir: Path, *, last: int, **options: Any) -> None:
        super().__init__(workdir, quiet=True, **options)
        self.last = last

    def report(self, step: int, metrics: Any, checkpoint: Any = None) -> None:
        super().report(step, metrics, checkpoint)
        if step >= self.last:
            raise _Done


class _Done(Exception):
    pass


def train(folder: Path, params: dict[str, Any], seed: int, last: int, resume: Path | None, schedule: int) -> float:
    """CPU seconds of the epochs up to `last`; the checkpoint is in `folder`."""
    trial = _UpTo(folder, last=last, seed=seed, max_steps=schedule, resume=resume)
    began = time.process_time()
    with contextlib.suppress(_Done):
        fit(SeqGANConfig.from_params(params), trial)
    return time.process_time() - began


def measure(checkpoint: Path, data: str, draws: int) -> dict[str, Any]:
    """NLL at temperature 1, and entropy, ROUGE-L and distinct-2 of drawn headlines at each temperature."""
    _, reader, generator = load_generator(checkpoint)
    splits = load_pairs(data)
    pairs = [*splits.dev, *splits.test]
    encoded = reader.encode(pairs)
    curve = []
    for temperature, entropy in zip(TEMPERATURES, entropy_at(generator, encoded, TEMPERATURES), strict=True):
        written = write_headlines(generator, reader, pairs, range(draws), decoding=Decoding(temperature=temperature))
        scores = [rouge_l(text, pair.title) for texts, pair in zip(written, pairs, strict=True) for text in texts]
        distinct = statistics.fmean(distinct_n([texts[i] for texts in written], 2) for i in range(draws))
        curve.append((entropy, statistics.fmean(scores), distinct))
    return {"nll": held_out(generator, encoded).nll, "entropy": curve[TEMPERATURES.index(1.0)][0], "curve": curve}


def at_entropy(curve: list[tuple[float, float, float]], entropy: float) -> tuple[float, float]:
    """ROUGE-L and distinct-2 between the two nearest temperatures."""
    entropies, rouge, distinct = zip(*curve, strict=True)
    return float(numpy.interp(entropy, entropies, rouge)), float(numpy.interp(entropy, entropies, distinct))


def run(seed: int, data: str, folder: Path, draws: int) -> dict[str, dict[str, float]]:
    """The figures of each variant for one seed."""
    base = folder / f"base-{seed}"
    schedule = EPOCHS + CONTINUED
    params = MODEL | {"data": data}
    base_seconds = train(base, params, seed, EPOCHS, None, schedule)
    seconds: dict[str, float] = {"teacher forcing": 0.0}
    measured: dict[str, dict[str, Any]] = {"teacher forcing": measure(base / "checkpoint", data, draws)}
    for name in ("SeqGAN", "constant reward, no baseline", "continued, same epochs", "continued, same CPU time"):
        last = schedule
        if name == "continued, same CPU time":
            # Epochs of teacher forcing that take as long as SeqGAN's, on a schedule that ends with them.
            last = EPOCHS + max(CONTINUED, round(seconds["SeqGAN"] / (base_seconds / EPOCHS)))
        work = folder / f"{name.replace(' ', '_').replace(',', '')}-{seed}"
        shutil.rmtree(work, ignore_errors=True)
        seconds[name] = train(work, params | VARIANTS[name], seed, last, base / "checkpoint", max(last, schedule))
        measured[name] = measure(work / "checkpoint", data, draws)
    entropy = measured["teacher forcing"]["entropy"]
    figures = {}
    for name, found in measured.items():
        rouge, distinct = at_entropy(found["curve"], entropy)
        figures[name] = {
            "CPU s more": seconds[name],
            "NLL": found["nll"],
            "NLL - teacher forcing's": found["nll"] - measured["teacher forcing"]["nll"],
            "entropy": found["entropy"],
            "ROUGE-L at its entropy": rouge,
            "distinct-2 at its entropy": distinct,
        }
    return figures


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--data", default="peoples_daily", help="'peoples_daily', or a file of pairs")
    parser.add_argument("--seeds", default="1,2,3", help="seeds, separated by commas")
    parser.add_argument("--draws", type=int, default=3, help="headlines an article and temperature")
    parser.add_argument("--out", type=Path, default=Path(".hpo/benchmarks/seqgan_adversarial"), help="working folder")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    of_seeds = []
    for seed in map(int, given.seeds.split(",")):
        of_seeds.append(run(seed, given.data, given.out, given.draws))
        print(json.dumps({"seed": seed} | of_seeds[-1]), file=sys.stderr, flush=True)
    rows, means = [], {}
    for name in VARIANTS:
        row: dict[str, Any] = {"variant": name}
        for key in of_seeds[0][name]:
            values = [figures[name][key] for figures in of_seeds]
            means[name, key] = statistics.fmean(values)
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            row[key] = f"{means[name, key]:.3f}{spread}" if "CPU" not in key else f"{means[name, key]:.0f}"
        rows.append(row)
    key = "ROUGE-L at its entropy"
    figures = {
        "seqgan_nll_difference": round(means["SeqGAN", "NLL - teacher forcing's"], 4),
        "seqgan_rouge": round(means["SeqGAN", key], 4),
        "best_control_rouge": round(max(means[name, key] for name in VARIANTS if name != "SeqGAN"), 4),
    }
    show("seqgan_adversarial", rows, figures, save=given.save)


if __name__ == "__main__":
    main()
