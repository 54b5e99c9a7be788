"""What keywords and click behaviour add, on headlines that have them.

Keywords: Toutiao headlines (TNEWS), whose only text beside them is their keywords; with them as the article, marked as
hot words, and without. Clicks: Upworthy's A/B tests; with the click rate as a prior and an auxiliary head, and without.
Its headlines can only be compared within one test under one image: of two variants of a test whose click rates differ
beyond chance (|z| > 1.96), does the model tell which was clicked more? It prefers the one whose likelihood gains more
when it is told that the click rate is high instead of low.

Without arguments it needs ../shared/data; finished runs are kept under --out and not repeated.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import torch  # noqa: E402
from headline_runs import SHARED, kept_runs, run, table_rows, without_articles  # noqa: E402
from table import options, show  # noqa: E402

from models.seqgan.sample import load_generator  # noqa: E402
from models.text.columns import ClickRecord, Pair  # noqa: E402
from models.text.pairs import load_pairs  # noqa: E402

TOUTIAO, UPWORTHY = SHARED / "zh_toutiao_tnews.jsonl.gz", SHARED / "en_upworthy_clicks.jsonl.gz"
SIGNIFICANT = 1.96
KEYWORDS = {"data": str(TOUTIAO), "article_length": 48, "headline_length": 40, "epochs": 3, "mle_epochs": 3}
CLICKS = {
    "data": str(UPWORTHY), "tokenizer": "wordpiece", "article_length": 80, "headline_length": 40, "epochs": 2,
    "mle_epochs": 2,
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "Toutiao, keywords": KEYWORDS | {"hot_words": "keywords"},
    "Toutiao, nothing to read": KEYWORDS,
    "Upworthy": CLICKS,
    "Upworthy, clicks": CLICKS | {"clicks": True, "lambda_aux": 0.1},
}


def preference(checkpoint: Path) -> dict[str, float]:
    """The share of significant pairs of variants (dev and test) that are told right, and its standard error."""
    config, reader, generator = load_generator(checkpoint)
    splits = load_pairs(config.data)
    pairs = [*splits.dev, *splits.test]
    if reader.click_scaler is None:
        return {"told": math.nan, "told_error": math.nan, "variants": 0}
    encoded = reader.encode(pairs)
    gain = []
    with torch.no_grad():
        for batch in encoded.batches(64):
            high, low = (
                generator(replace(batch, click_NF=_told(rate, len(batch)))).log_prob_BT.sum(1) for rate in (1.0, -1.0)
            )
            gain += (high - low).tolist()
    right = [(gain[i] > gain[j]) == better for i, j, better in _significant(pairs)]
    share = sum(right) / len(right)
    return {"told": share, "told_error": math.sqrt(share * (1 - share) / len(right)), "variants": len(right)}


def _told(rate: float, rows: int) -> torch.Tensor:
    """Click features that say only how often a headline is clicked, in standard deviations of its test."""
    return torch.tensor([[rate, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]).repeat(rows, 1)


def _significant(pairs: list[Pair]) -> list[tuple[int, int, bool]]:
    """Places of two different headlines of one test whose click rates differ, and whether the first is higher."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place, pair in enumerate(pairs):
        if pair.click is not None and pair.click.group is not None:
            groups[pair.click.group].append(place)
    found = []
    for places in groups.values():
        for i, j in itertools.combinations(places, 2):
            z = _z(pairs[i].click, pairs[j].click)
            if pairs[i].title != pairs[j].title and abs(z) > SIGNIFICANT:
                found.append((i, j, z > 0))
    return found


def _z(one: ClickRecord | None, other: ClickRecord | None) -> float:
    """The two-proportion z statistic of two click rates."""
    assert one is not None
    assert other is not None
    seen = (one.impressions or 0.0, other.impressions or 0.0)
    clicked = (one.clicks or 0.0, other.clicks or 0.0)
    pooled = sum(clicked) / sum(seen)
    error = math.sqrt(pooled * (1 - pooled) * (1 / seen[0] + 1 / seen[1]))
    return (clicked[0] / seen[0] - clicked[1] / seen[1]) / error if error else 0.0


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--variants", default=";".join(VARIANTS), help="names, separated by ;")
    parser.add_argument("--seeds", default="1,2,3", help="seeds, separated by commas")
    parser.add_argument("--out", type=Path, default=Path(".hpo/benchmarks/seqgan_priors"), help="kept runs")
    given = parser.parse_args()
    if not TOUTIAO.is_file() or not UPWORTHY.is_file():
        sys.exit(f"seqgan_priors: needs {TOUTIAO.name} and {UPWORTHY.name} in {SHARED}")
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    for name in filter(None, given.variants.split(";")):
        params = dict(VARIANTS[name])
        if "nothing" in name:
            params["data"] = without_articles(params["data"], given.out / "nothing.jsonl")
        for seed in map(int, given.seeds.split(",")):
            run(name, params, seed, given.out, preference)
    done = kept_runs(given.out, list(VARIANTS))
    told = [run["more"] for run in done if run["variant"] == "Upworthy, clicks"]
    figures = {"told": round(sum(more["told"] for more in told) / len(told), 4)} if told else {}
    show(
        "seqgan_priors", table_rows(done, {"told": "told right", "told_error": "± its error"}), figures, save=given.save
    )


if __name__ == "__main__":
    main()
