"""How commands fail: `error: …` lines, never a traceback for an error of ours. 1 failed, 2 bad input."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from api.cli.saying import echo
from hpo.errors import (
    ExchangeError,
    HpoError,
    InvalidPageError,
    InvalidSpecError,
    ServiceError,
    SpecFileError,
    StudyExistsError,
    StudyNotFoundError,
    TrainableNotFoundError,
    TrialNotFoundError,
)

FAILED = 1
BAD_INPUT = 2

_BAD_INPUT = (
    InvalidSpecError, SpecFileError, StudyExistsError, StudyNotFoundError, TrialNotFoundError, InvalidPageError,
    TrainableNotFoundError, ExchangeError,
)  # fmt: skip
_BAD_REQUEST = frozenset({400, 404, 409, 412, 413, 415, 422})


def exit_code(error: HpoError) -> int:
    if isinstance(error, _BAD_INPUT) or (isinstance(error, ServiceError) and error.status in _BAD_REQUEST):
        return BAD_INPUT
    return FAILED


def lines(error: HpoError) -> list[str]:
    """One line a problem: `error: parameters.lr.low: the value and the rule; the remedy`."""
    problems = error.problems if isinstance(error, InvalidSpecError | ServiceError) else ()
    if problems:
        return [f"error: {problem}" for problem in problems]
    return [f"error: {error}"]


class Commands(TyperGroup):
    """A group of commands that tells of our errors in this way."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except HpoError as error:
            for line in lines(error):
                echo(line, err=True)
            raise typer.Exit(exit_code(error)) from None
