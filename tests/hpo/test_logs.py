"""Log lines, as text and as JSON."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from hpo import logs

log = logging.getLogger("hpo.somewhere")
ROOT = Path(__file__).parents[2]


pytestmark = pytest.mark.usefixtures("root_log_as_it_was")


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_json_line_says_when_how_bad_who_and_what(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    log.warning("%d rows wait", 3)
    [line] = lines(capsys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {"level": "WARNING", "logger": "hpo.somewhere", "message": "3 rows wait"}


def test_whatever_a_message_holds_it_stays_one_line_of_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    log.info("two\nlines, 标题, \udc80 and \x00")
    [text] = capsys.readouterr().err.splitlines()
    assert text.isascii()
    assert json.loads(text)["message"] == "two\nlines, 标题, \udc80 and \x00"


def test_an_exception_is_part_of_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    try:
        raise ZeroDivisionError("by nothing")
    except ZeroDivisionError:
        log.exception("failed")
    [line] = lines(capsys)
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ZeroDivisionError: by nothing")


def test_what_is_logged_within_a_context_is_about_its_study_and_trial(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    with logs.study_context("outer"):
        log.info("1")
        with logs.study_context("inner", trial=0):
            log.info("2")
        log.info("3")
    log.info("4")
    found = [(line["message"], line.get("study"), line.get("trial")) for line in lines(capsys)]
    assert found == [("1", "outer", None), ("2", "inner", 0), ("3", "outer", None), ("4", None, None)]


def test_the_lines_own_study_wins_over_the_contexts(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", study="of the process")
    with logs.study_context("context", trial=1):
        log.info("", extra={"study": "own"})
        log.info("", extra={"trial": 7})
    found = [(line.get("study"), line.get("trial")) for line in lines(capsys)]
    assert found == [("own", None), ("context", 7)]


def test_every_thread_of_a_process_is_about_the_study_of_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", study="mine")
    with logs.study_context("other"):
        thread = threading.Thread(target=log.info, args=("from a thread",))  # a thread begins with no context
        thread.start()
        thread.join()
    log.info("from here")
    assert [line["study"] for line in lines(capsys)] == ["mine", "mine"]


def test_text_names_study_and_trial_where_they_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text")
    log.info("one")
    with logs.study_context("mine"):
        log.info("two")
    with logs.study_context("mine", trial=3):
        log.info("three")
    found = [line.split(" ", 2)[2] for line in capsys.readouterr().err.splitlines()]
    assert found == [
        "INFO hpo.somewhere: one", "INFO hpo.somewhere [mine]: two", "INFO hpo.somewhere [mine/3]: three"
    ]  # fmt: skip


def test_an_unknown_format_is_text_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("xml")
    log.info("on")
    first, second = capsys.readouterr().err.splitlines()
    assert "HPO_LOG_FORMAT is 'xml', but a format is one of text, json" in first
    assert second.endswith("INFO hpo.somewhere: on")


def test_a_driver_logs_each_line_with_its_study(tmp_path: Path) -> None:
    # It ends before it needs a cluster: no such study could be claimed, since no address leads to a store.
    program = (
        "import logging, sys\nfrom hpo import driver\n"
        "code = driver.main(['mine'])\nlogging.getLogger('anyone').warning('after %d', code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120,
        env={"HPO_LOG_FORMAT": "json", "PATH": "", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stderr.splitlines()[-1])
    assert (line["message"], line["study"], line["logger"]) == ("after 2", "mine", "anyone")


def test_a_message_can_neither_begin_a_line_of_text_nor_move_a_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text")
    forged = "2026-11-26 10:00:00,000 INFO api: all is well"
    log.warning("trial failed: %s", f"no\n{forged}\x1b[2J\r")
    try:
        raise ValueError(f"no\n{forged}\x1b[2J")
    except ValueError:
        log.exception("failed")
    shown = capsys.readouterr().err
    assert [line for line in shown.splitlines() if not line.startswith("    ")] == [
        line for line in shown.splitlines() if re.match(r"[-\d]+ [:,\d]+ (WARNING|ERROR) hpo.somewhere: ", line)
    ]
    assert shown.count(f"    {forged}\\u001b[2J") == 2
    assert "\x1b" not in shown
