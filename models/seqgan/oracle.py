"""The command `python -m models.seqgan.oracle`: check the chain on an oracle, or train a generator on its texts."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from models.context import LocalTrial
from models.errors import ModelError
from models.parameters import parse_assignment
from models.seqgan.paper.checks import all_checks
from models.seqgan.paper.config import METHODS, OFFICIAL, PaperConfig
from models.seqgan.paper.preflight import SEEDED
from models.seqgan.paper.trial import train

PAPER_ORACLE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "seqgan_oracle.npz"
"""Where the paper's oracle is looked for. It isn't part of the project, for it has no licence."""

DESCRIPTION = """\
Check the unconditional SeqGAN (Yu et al. 2017) on an oracle whose likelihoods are known, or train a generator on its
texts and print a line an epoch. models/seqgan/paper/README.md says what the figures mean.
"""
EXAMPLES = """\
examples:
  python -m models.seqgan.oracle --check                            seconds; exit code 0 when every check passes
  python -m models.seqgan.oracle --epochs 10 --out out              teacher forcing on our seeded oracle
  python -m models.seqgan.oracle --method seqgan --set mle_epochs=5 --epochs 8 --out out
  python -m models.seqgan.oracle --method seqgan --official --oracle FILE.npz --out out      the paper's: CPU days
"""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit code: 0, 1 for a failed check, 2 for a wrong input, 130 after Ctrl-C."""
    given = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    try:
        return _check(given) if given.check else _train(given)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        remedy = "" if given.check else f"; --resume goes on from {given.out / 'checkpoint'}"
        print(f"interrupted{remedy}", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m models.seqgan.oracle",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="check everything that is known exactly, and exit 0 or 1")
    parser.add_argument(
        "--oracle",
        metavar="FILE.npz",
        help="parameters of an oracle; without it --check takes the paper's if it lies in ../shared/data, and training "
        "our own, drawn from N(0, 1)",
    )
    parser.add_argument("--method", choices=METHODS, default="mle", help="how to train (default: mle)")
    parser.add_argument("--epochs", type=int, help="epochs in all (default: 25)")
    parser.add_argument("--official", action="store_true", help="the paper's schedule instead of a short one")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of models/seqgan/paper/config.py, such as lr=3e-3; repeatable",
    )
    parser.add_argument("--seed", type=int, default=0, help="key of all random numbers but the oracle's (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder that gets checkpoint/ (default: out)")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--json", action="store_true", help="a JSON object a line instead of text")
    return parser


def _check(given: argparse.Namespace) -> int:
    oracle_file = Path(given.oracle) if given.oracle else PAPER_ORACLE if PAPER_ORACLE.exists() else None
    passed = True
    for check in all_checks(oracle_file):
        passed = passed and check.passed is not False
        verdict = {True: "ok", False: "FAILED", None: "skipped"}[check.passed]
        if given.json:
            print(json.dumps({"check": check.name, "seen": check.seen, "verdict": verdict}, ensure_ascii=False))
        else:
            print(f"{verdict:7s}  {check.name}: {check.seen}", flush=True)
    return 0 if passed else 1


def _train(given: argparse.Namespace) -> int:
    params: dict[str, Any] = (OFFICIAL if given.official else {}) | {"method": given.method}
    params["oracle"] = given.oracle or SEEDED
    params |= dict(parse_assignment(text) for text in given.set)
    config = PaperConfig.from_params(params)
    trial = _Progress(given.out, seed=given.seed, max_steps=given.epochs, quiet=given.json)
    if given.resume:
        trial.resume = trial.checkpoint
    train(config.to_params(), trial)
    if not given.json:
        print(f"checkpoint: {trial.checkpoint}")
    return 0


class _Progress(LocalTrial):
    """A local trial that can print its lines as JSON: `quiet` stands for that."""

    def report(self, step: int, metrics: Mapping[str, float], checkpoint: Any = None) -> None:
        """As LocalTrial's."""
        super().report(step, metrics, checkpoint)
        if self.quiet:
            print(json.dumps({"epoch": step, **metrics}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
