"""Does SeqGAN beat its controls? NLL_oracle, NLL_test and entropy side by side, on the paper's oracle, over 3 seeds.

Every row but the first is what became of one generator after 25 epochs of maximum likelihood (MLE): its temperature
sweep, and U updates each of MLE continued, a constant reward and SeqGAN; U is what the minutes allow. `gain` compares
at matched entropy: how far a row's NLL_oracle lies below that of MLE's temperature sweeps (of the best test epoch and
of epoch 25, whichever is lower) where these have the row's entropy. SeqGAN's schedule is a short one, PER_UPDATE below:
the paper's takes CPU days.
"""

from __future__ import annotations

import copy
import dataclasses
import statistics
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import scipy.stats  # noqa: E402
import torch  # noqa: E402
from table import options, show  # noqa: E402

from models.seqgan.oracle import PAPER_ORACLE  # noqa: E402
from models.seqgan.paper.config import PaperConfig  # noqa: E402
from models.seqgan.paper.learner import Corpus, Learner  # noqa: E402
from models.seqgan.paper.metrics import Score, at_entropy  # noqa: E402
from models.seqgan.paper.preflight import SEEDED  # noqa: E402

MLE_EPOCHS, ANCHOR, TOLERANCE = 25, 9.00, 0.05
TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
SEARCHED_EPOCHS = 10  # the best test epoch is among the first few
SAMPLES = 4000  # texts written, and held-out texts scored, for the figures of MLE
SWEEP = 2000  # the same for a point of a temperature sweep, and for the rows that are compared with it
LONG = 75  # updates of a constant reward, which cost next to nothing, to show where it leads
PER_UPDATE = {"n_rollouts": 4, "d_pretrain_sets": 4, "d_sets": 1, "d_samples": 640, "d_lr": 1e-3}

BRANCHES: dict[str, dict[str, Any]] = {
    "MLE continued": {"method": "mle_continued"},
    "constant reward, no baseline": {"method": "constant_reward", "baseline": "none"},
    "constant reward, mean baseline": {"method": "constant_reward", "baseline": "mean"},
    "SeqGAN, no baseline": {"method": "seqgan", "baseline": "none"},
    "SeqGAN, mean baseline": {"method": "seqgan", "baseline": "mean"},
}


@dataclasses.dataclass
class Seed:
    """One seed's MLE: its learners at the best test epoch and at the last, and their temperature sweeps."""

    best: Learner
    last: Learner
    best_epoch: int
    curves: list[list[Score]] = dataclasses.field(default_factory=list)

    def gain(self, score: Score) -> float:
        """Nats a token below the lower of the sweeps at the same entropy."""
        return min(at_entropy(curve, score.entropy).nll_oracle for curve in self.curves) - score.nll_oracle


def mle(config: PaperConfig, seed: int) -> Seed:
    """25 epochs, remembering the best test epoch."""
    corpus = Corpus.build(dataclasses.replace(config, oracle_seed=seed))
    learner = Learner(config, dataclasses.replace(corpus, test_BT=corpus.test_BT[:SAMPLES]), seed=seed)
    best, lowest, best_epoch = learner, float("inf"), 0
    for epoch in range(1, MLE_EPOCHS + 1):
        learner.epoch(epoch)
        if epoch <= SEARCHED_EPOCHS:
            nll_test = learner.generator.nll(learner.test_BT[:1000]).mean().item()
            if nll_test < lowest:
                best, lowest, best_epoch = copy.deepcopy(learner), nll_test, epoch
    return Seed(best, learner, best_epoch)


def branch(base: Learner, config: PaperConfig, updates: int, seconds: float = float("inf")) -> tuple[Score, int]:
    """Go on from the MLE generator; ends after so many updates, or so many CPU seconds (at least 3 updates)."""
    corpus = Corpus(base.oracle, base.train_BT, base.test_BT[:SWEEP])
    learner = Learner(dataclasses.replace(config, updates=1, num_samples=SWEEP), corpus, seed=base.seed)
    learner.start_from(base)
    begin, done = time.process_time(), 0
    while done < updates and (done < 3 or time.process_time() - begin < seconds):
        done += 1
        learner.epoch(MLE_EPOCHS + done)
    return learner.measure(0), done


def sweep(learner: Learner) -> list[Score]:
    """The figures at each temperature."""
    corpus = Corpus(learner.oracle, learner.train_BT, learner.test_BT[:SWEEP])
    small = Learner(dataclasses.replace(learner.config, num_samples=SWEEP, method="mle"), corpus, seed=learner.seed)
    small.start_from(learner)
    return [small.measure(0, temperature=temperature) for temperature in TEMPERATURES]


def row(name: str, scores: list[Score], gains: list[float] | None = None) -> dict[str, Any]:
    """Mean ± standard deviation over the seeds."""

    def spread(values: list[float]) -> str:
        return f"{statistics.mean(values):.3f} ± {statistics.stdev(values) if len(values) > 1 else 0:.3f}"

    columns = {"NLL_oracle": "nll_oracle", "NLL_test": "nll_test", "entropy": "entropy"}
    figures = {title: spread([getattr(score, key) for score in scores]) for title, key in columns.items()}
    return {"generator": name, **figures, "gain": spread(gains) if gains else ""}


def beats(gains: list[float], others: list[list[float]]) -> bool:
    """Whether gains are above 0 and, seed by seed, above each control's: one-sided t tests at 5 %."""

    def above(differences: list[float]) -> bool:
        if len(differences) < 2:
            return False
        error = statistics.stdev(differences) / len(differences) ** 0.5
        return statistics.mean(differences) > error * scipy.stats.t.ppf(0.95, len(differences) - 1)

    return above(gains) and all(above([a - b for a, b in zip(gains, other, strict=True)]) for other in others)


def log(text: str) -> None:
    """Progress, on standard error."""
    print(f"{time.process_time():6.0f} CPU s  {text}", file=sys.stderr, flush=True)


def pretrain(config: PaperConfig, number: int) -> tuple[Seed, Score, Score]:
    """One seed's MLE with its sweeps, and its figures at the best test epoch and at the last."""
    seed = mle(config, number)
    best, last = seed.best.measure(0), seed.last.measure(0)
    seed.curves = [sweep(seed.best), sweep(seed.last)]
    log(f"seed {number}: best test epoch {seed.best_epoch}, epoch {MLE_EPOCHS} {last}")
    return seed, best, last


def compare(config: PaperConfig, seeds: list[Seed], seconds: float) -> tuple[dict[str, list[Score]], int]:
    """The scores of each branch, a seed each, and how many updates all of them made.

    The first, a SeqGAN, has so many CPU seconds, and says by that how many updates all others make.
    """
    rows: dict[str, list[Score]] = {}
    updates = 1000
    for name in reversed(BRANCHES):
        settings = dataclasses.replace(config, **PER_UPDATE, **BRANCHES[name])
        rows[name] = []
        for seed in seeds:
            score, updates = branch(seed.last, settings, updates, seconds)
            seconds = float("inf")
            rows[name].append(score)
            log(f"{name}: {updates} updates, {score}, gain {seed.gain(score):.3f}")
    return {name: rows[name] for name in BRANCHES}, updates


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--minutes", type=float, default=15.0, help="CPU minutes in all; MLE takes 8 to 12 of them")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of data and weights")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    oracle = str(PAPER_ORACLE) if PAPER_ORACLE.exists() else SEEDED
    of = "the paper's oracle" if PAPER_ORACLE.exists() else "our seeded oracles (9.00 is the paper's oracle's alone)"
    config = PaperConfig(oracle=oracle, mle_epochs=MLE_EPOCHS, num_samples=SAMPLES)

    seeds, best, last = zip(*(pretrain(config, number) for number in range(arguments.seeds)), strict=True)
    # Half of what is left of a seed's time for each of SeqGAN's two rows; the others cost next to nothing.
    left = max(0.0, 60 * arguments.minutes - time.process_time()) / len(seeds)
    rows, updates = compare(config, list(seeds), max(0.0, left - 20) * 0.45)
    named = {f"{name}, {updates} updates": scores for name, scores in rows.items()}
    no_baseline = dataclasses.replace(config, **BRANCHES["constant reward, no baseline"])
    named[f"constant reward, no baseline, {LONG} updates"] = [branch(seed.last, no_baseline, LONG)[0] for seed in seeds]

    def gains(scores: list[Score]) -> list[float]:
        return [seed.gain(score) for seed, score in zip(seeds, scores, strict=True)]

    table = [row("MLE, best test epoch", list(best)), row(f"MLE, epoch {MLE_EPOCHS}", list(last))]
    table += [
        row(f"epoch {MLE_EPOCHS}, T = {temperature}", [seed.curves[1][t] for seed in seeds])
        for t, temperature in enumerate(TEMPERATURES)
    ]
    table += [row(name, scores, gains(scores)) for name, scores in named.items()]
    won = [
        beats(
            gains(rows[f"SeqGAN, {kind}"]),
            [gains(rows[name]) for name in ("MLE continued", f"constant reward, {kind}")],
        )
        for kind in ("no baseline", "mean baseline")
    ]
    reached = statistics.mean(score.nll_oracle for score in last)
    answer = "yes" if any(won) else "no"
    print(f"on {of}, {len(seeds)} seeds; MLE's best test epochs: {[seed.best_epoch for seed in seeds]}")
    print(f"SeqGAN beats both controls: {answer} (after {updates} updates)")
    figures = {
        "oracle": of,
        "seeds": len(seeds),
        "updates": updates,
        "mle_epoch_25_nll_oracle": round(reached, 3),
        "mle_epoch_25_within_0.05_of_9.00": abs(reached - ANCHOR) <= TOLERANCE,
        "seqgan_beats_both_controls": answer,
        "cpu_minutes": round(time.process_time() / 60, 1),
    }
    show("seqgan_oracle", table, figures, save=arguments.save)


if __name__ == "__main__":
    main()
