"""Runs of the conditional SeqGAN that benchmarks share: train a variant, measure it, keep its figures, lay them out."""

from __future__ import annotations

import json
import math
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.context import LocalTrial
from models.seqgan.config import SeqGANConfig
from models.seqgan.evaluate import evaluate
from models.seqgan.train import fit
from models.text.pairs import SPLITS, load_pairs

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Where the data sets lie that are not the project's own (never needed to use it)."""
COLUMNS = {
    "perplexity": "perplexity",
    "unigram_perplexity": "unigram",
    "shuffle_gap": "shuffle gap",
    "rouge_l": "ROUGE-L",
    "rouge_gain": "over first sentence",
    "rouge_gain_error": "± error",
    "distinct_2": "distinct-2",
    "distinct_2_real": "real",
    "copy_rate": "copied",
}


def run(
    name: str,
    params: dict[str, Any],
    seed: int,
    folder: Path,
    more: Callable[[Path], dict[str, float]] | None = None,
) -> dict[str, Any]:
    """Train and measure a variant; its figures. `folder` keeps them, so that the same run is not repeated.

    `more(checkpoint)` measures something of the benchmark's own.
    """
    kept = folder / (re.sub(r"\W+", "_", name) + f"-{seed}.json")
    config = SeqGANConfig.from_params(params)
    if kept.is_file():
        figures = json.loads(kept.read_text(encoding="utf-8"))
        if figures["params"] == config.to_params():
            return figures  # type: ignore[no-any-return]
    trial = LocalTrial(kept.with_suffix(""), seed=seed, max_steps=config.epochs)
    began = time.process_time()
    fit(config, trial)
    figures = {"variant": name, "seed": seed, "cpu_s": time.process_time() - began}
    for split in ("dev", "test"):
        figures[split] = asdict(evaluate(trial.checkpoint, split))
    if more is not None:
        figures["more"] = more(trial.checkpoint)
    figures["params"] = config.to_params()
    kept.write_text(json.dumps(figures), encoding="utf-8")
    return figures


def kept_runs(folder: Path, variants: Sequence[str]) -> list[dict[str, Any]]:
    """All runs of these variants that are there, in their order."""
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    runs = [run for run in runs if run["variant"] in variants]
    return sorted(runs, key=lambda run: (list(variants).index(run["variant"]), run["seed"]))


def without_articles(data: str, path: Path) -> str:
    """The same headlines in the same splits, with nothing to read, as a file at `path`."""
    splits = load_pairs(data)
    with path.open("w", encoding="utf-8") as file:
        for split in SPLITS:
            for pair in getattr(splits, split):
                row = {"title": pair.title, "keywords": [], "split": split}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return str(path)


def table_rows(runs: list[dict[str, Any]], more: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """A row a variant and split: mean ± standard deviation over its seeds."""
    table = []
    for name in dict.fromkeys(run["variant"] for run in runs):
        of_variant = [run for run in runs if run["variant"] == name]
        for split in ("dev", "test"):
            row = {"variant": name, "split": split, "seeds": len(of_variant)}
            row["CPU s"] = spread([run["cpu_s"] for run in of_variant], 0)
            for key, title in COLUMNS.items():
                row[title] = spread([run[split][key] for run in of_variant], 3)
            for key, title in (more or {}).items():
                row[title] = spread([run["more"][key] for run in of_variant], 3)
            table.append(row)
    return table


def spread(values: Sequence[float], digits: int) -> str:
    """`mean ± standard deviation`, or the value alone; nothing where it was not measured."""
    if any(math.isnan(value) for value in values):
        return ""
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"
