"""What others have written can't act on the terminal of who looks at it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from rich.table import Table
from typer.testing import Result

from api.cli.console import Console
from hpo import specfile
from hpo.harmless import harmless
from hpo.protocols import Store
from hpo.trial import Checkpoint, Event, StudyState, Trial, TrialState

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202e\b"
"""Sets the window's title, clears the screen, colours, goes back, and turns the direction."""
ACTIVE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")


@pytest.fixture
def hostile(store: Store, spec: dict[str, Any]) -> None:
    """A study with escapes wherever a user of it may write."""
    choice = f"a{EVIL}"
    spec |= {
        "parameters": {f"p{EVIL}": {"type": "categorical", "choices": [choice, "b"]}},
        "objective": {"metric": f"loss{EVIL}", "direction": "minimize"}, "labels": {EVIL: EVIL},
    }  # fmt: skip
    store.create_study(specfile.parse(spec))
    lease = store.claim("mine", holder="test", lease_seconds=60)
    store.set_study_state("mine", StudyState.RUNNING, lease=lease)
    params: dict[str, Any] = {f"p{EVIL}": choice}
    common: dict[str, Any] = {"study": "mine", "trial": 0, "recorded_at": 5.0}
    store.write(
        lease,
        [
            Trial(study="mine", number=0, params=params, state=TrialState.FAILED, message=EVIL, value=1.0,
                  value_step=1, value_generation=0, created_at=1.0),
            Checkpoint(**common, step=1, path=f"/{EVIL}", size_bytes=7),
            Event(**common, kind="incumbent.changed", data={"value": 1.0, "step": 1, "params": params}),
            Event(**common, kind="trial.failed", data={"step": 1, "message": EVIL}),
        ],
    )  # fmt: skip
    store.set_study_state("mine", StudyState.FAILED, message=f"why: {EVIL}", lease=lease)


@pytest.mark.parametrize(
    "command",
    ["ls", "show mine", "trials mine", "best mine", "watch mine", "incumbents mine", "trials mine --json",
     "show mine --json", "ls --json", "best mine --json"],
)  # fmt: skip
def test_no_command_lets_it_through(hostile: None, run: Callable[..., Result], command: str) -> None:
    done = run(*command.split())
    assert not isinstance(done.exception, Exception) or isinstance(done.exception, SystemExit)
    assert len(done.output) > 100
    assert ACTIVE.findall(done.output) == []
    if command != "ls":
        assert "\\u001b" in done.output


def test_nor_does_an_error(run: Callable[..., Result], http: httpx.Client) -> None:
    for command in (["show", f"a{EVIL}"], ["trials", "mine", "--filter", EVIL], ["trial", "stop", f"a{EVIL}", "1"]):
        done = run(*command)
        assert done.exit_code == 2
        assert ACTIVE.findall(done.output) == []


def test_a_consoles_own_colours_stay() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=80)
    table = Table("name")
    table.add_row(f"[red]failed[/] {EVIL}")
    console.print(table)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[31mfailed\x1b[0m" in shown
    assert set(re.findall(r"\x1b[^m]*m?", shown)) <= {"\x1b[31m", "\x1b[0m", "\x1b[1m"}
    assert "\\u001b]0;owned" in shown


def test_only_what_acts_is_spelt_out() -> None:
    plain = "标题 é 😀 \t tab\nline \\u001b"
    assert harmless(plain) == plain
    assert harmless("\x1b[0m\x9b") == "\\u001b[0m\\u009b"
