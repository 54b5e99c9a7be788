"""Every specification under examples/ is one that hpo would take; those that run in minutes do so in integration/."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from api.submission import accept
from hpo import specfile
from hpo.store.memory import MemoryStore

ROOT = Path(__file__).resolve().parents[1]
SPECS = sorted(path for path in (ROOT / "examples").rglob("*.toml"))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_example_is_accepted(path: Path):
    data = specfile.read_file(path)
    folder = None if data.get("engine") == "ask" else path.parent  # whose workers bring their own code
    assert accept(data, MemoryStore(), working_dir=folder).spec.budget.trials >= 1


def test_there_are_examples():
    assert {path.name for path in SPECS} >= {"headlines.toml", "study.toml"}


def test_the_users_own_function_runs_alone():
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "digits" / "train.py"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("step 10: accuracy 0.9")
    assert "import hpo" not in (ROOT / "examples" / "digits" / "train.py").read_text()


def test_the_readme_shows_it_in_under_thirty_lines():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## Tune your own function")[2].partition("\n## ")[0]
    fences = section.split("```")[1::2]
    assert sum(len(block.splitlines()) - 1 for block in fences) < 30
