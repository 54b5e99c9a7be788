"""How the service and the drivers log: as text, or one JSON object a line, with the study and the trial where known.

A study is known within `study_context`, or after `about`, which holds for the thread or the task; a driver, which runs
one study in several threads, gives it to `configure`. `log.info(..., extra={"study": ..., "trial": ...})` wins.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from hpo.harmless import harmless

FORMATS = ("text", "json")
_INDENT = "\n    "
_TEXT = "%(asctime)s %(levelname)s %(name)s%(about)s: %(message)s"

_study: ContextVar[str | None] = ContextVar("hpo_study", default=None)
_trial: ContextVar[int | None] = ContextVar("hpo_trial", default=None)


def about(study: str | None, trial: int | None = None) -> None:
    """From here on this thread or task logs about a study, or a trial of it."""
    _study.set(study)
    _trial.set(trial)


@contextmanager
def study_context(study: str | None, trial: int | None = None) -> Iterator[None]:
    """What is logged within, by this thread or task, is about a study, or a trial of it."""
    tokens = _study.set(study), _trial.set(trial)
    try:
        yield
    finally:
        _study.reset(tokens[0])
        _trial.reset(tokens[1])


def configure(format: str = "text", *, study: str | None = None, level: int = logging.INFO) -> None:
    """Let the process log to standard error in a format of FORMATS, in place of what its root logger did before.

    `study` is what lines are about that name no other. Another format is text, with a warning: a driver must not end
    for it.
    """
    handler = logging.StreamHandler()
    handler.addFilter(_About(study))
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter(_TEXT))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    if format not in FORMATS:
        logging.getLogger("hpo.logs").warning(
            "HPO_LOG_FORMAT is %r, but a format is one of %s; this is text", format, ", ".join(FORMATS)
        )


class TextFormatter(logging.Formatter):
    """A line each, and further ones indented: what a message quotes can neither begin a line nor move a cursor."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = _indented(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        return _INDENT.removeprefix("\n") + _indented(super().formatException(ei))


def _indented(text: str) -> str:
    return harmless(text).replace("\n", _INDENT)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (ISO 8601, UTC), level, logger, message; study, trial and exception where known.

    ASCII only, so that no encoding of a log breaks it.
    """

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ("study", "trial"):
            if (value := getattr(record, name, None)) is not None:
                line[name] = value
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class _About(logging.Filter):
    """Gives each record its study and trial, and `about`, their form in text."""

    def __init__(self, study: str | None) -> None:
        super().__init__()
        self._default = study

    def filter(self, record: logging.LogRecord) -> bool:
        # Here, since a record may be formatted by another thread than its own.
        if getattr(record, "study", None) is None:
            record.study = _study.get() or self._default
            if getattr(record, "trial", None) is None:
                record.trial = _trial.get()
        study, trial = getattr(record, "study", None), getattr(record, "trial", None)
        where = f"{study}/{trial}" if trial is not None else study
        record.about = f" [{where}]" if where is not None else ""
        return True
