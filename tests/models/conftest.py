"""What the tests of models share: one thread, and small checkpoints."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from models.context import LocalTrial
from models.seqgan.trial import train

# As the commands do: with networks this small, threads cost more than they give.
torch.set_num_threads(1)
CHARACTERS = "天地玄黄宇宙洪荒日月盈昃辰宿列张"
SMALL = {
    "hidden": 12, "embedding": 8, "article_length": 20, "headline_length": 10, "batch_size": 8, "d_channels": 4,
    "mle_epochs": 3, "lr": 0.02,
}  # fmt: skip


def write_checkpoint(workdir: Path, **params: object) -> Path:
    """Three epochs over twenty-four pairs whose headline is a piece of the body."""
    rng = random.Random(5)
    rows = []
    for i in range(24):
        body = "".join(rng.choices(CHARACTERS, k=18))
        known = {"keywords": [body[3:5]], "history": [body[:4]], "impressions": 100, "clicks": i}
        rows.append({"title": body[3 : 5 + i % 5], "body": body, "split": "train" if i < 20 else "dev", **known})
    path = workdir / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    trial = LocalTrial(workdir, seed=11, max_steps=3, quiet=True)
    train(SMALL | {"data": str(path)} | params, trial)
    return trial.checkpoint


@pytest.fixture(scope="session", autouse=True)
def _cache_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="session")
def informed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that reads hot words, history and clicks."""
    return write_checkpoint(tmp_path_factory.mktemp("informed"), hot_words="tfidf", history_length=12, clicks=True)
