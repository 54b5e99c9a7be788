"""The language of filters: what it understands, and what it says of what it doesn't."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.errors import InvalidQueryError
from hpo.filters import MAX_CHARACTERS, STUDY_FIELDS, TRIAL_FIELDS, AllOf, AnyOf, Compared, Present, parse


def test_a_comparison_is_a_field_an_operator_and_a_value() -> None:
    found = parse("params.lr >= -1.5e-3", TRIAL_FIELDS)
    assert isinstance(found, Compared)
    assert (found.field.column, found.field.path, found.operator, found.value) == ("params", ("lr",), ">=", -0.0015)


def test_not_is_moved_into_the_comparisons() -> None:
    found = parse("NOT (value < 1 AND (step > 3 OR NOT cause:*))", TRIAL_FIELDS)
    assert isinstance(found, AnyOf)
    first, rest = found.parts
    assert isinstance(first, Compared)
    assert first.operator == ">="
    assert isinstance(rest, AllOf)
    step, cause = rest.parts
    assert isinstance(step, Compared)
    assert step.operator == "<="
    assert isinstance(cause, Present)
    assert cause.there


def test_quotes_hold_any_text() -> None:
    found = parse(r"""params."a \"b\" \\" = 'it\'s (x OR y)'""", TRIAL_FIELDS)
    assert isinstance(found, Compared)
    assert (found.field.path, found.value) == (('a "b" \\',), "it's (x OR y)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty; write, for example"),
        ("   ", "it is empty"),
        ("value <", "'value <' ends too soon"),
        ("value < 0.3 step", "from character 13 on, 'step'"),
        ("state = failed OR state = running AND value < 1", "AND and OR stand side by side at character 35.*parenthes"),
        ("valu < 3", "'valu' is no field; did you mean 'value'"),
        ("loss < 3", "the fields are cause, created_at"),
        ("params < 3", "name one of them: params.NAME"),
        ("value.best < 3", "value is a number; write value"),
        ("state = complete", "state is never 'complete'; did you mean 'completed'"),
        ("state > completed", "only numbers and times have an order; compare with = or !="),
        ("params.on < true", "only numbers and times have an order"),
        ("value = high", "value is a number, not 'high'"),
        ('value = "3"', "value is a number"),
        ("value < 1e999", "beyond what a number can be"),
        ('ended_at > "yesterday"', "'yesterday' is no time; write it as"),
        ("ended_at > yesterday", "write seconds since 1970"),
        ('params.kind = "a', "from character 15 on.*close the quotes"),
        ("value < 3; DROP TABLE trials", "from character 10 on"),
        ("value < 3 /*\n*/", "can't be printed"),
        ("params.kind = '\ud800'", "can't be printed"),
        (f"number = {'9' * MAX_CHARACTERS}", "1009 characters, but a filter has at most 1000"),
    ],
)
def test_a_filter_that_is_none_says_what_is_wrong_and_what_helps(text: str, message: str) -> None:
    with pytest.raises(InvalidQueryError, match=f"filter: .*{message}") as caught:
        parse(text, TRIAL_FIELDS)
    assert caught.value.problem.pointer == "/query/filter"
    assert caught.value.problem.hint


def test_studies_have_fields_of_their_own() -> None:
    parse('labels.team = "nlp" AND state = succeeded AND trainable = headlines', STUDY_FIELDS)
    with pytest.raises(InvalidQueryError, match="state is never 'completed'"):
        parse("state = completed", STUDY_FIELDS)


@pytest.mark.parametrize(
    "text", ["(" * 450 + "value=1" + ")" * 450, "NOT " * 240 + "value=1", "value=1" + " AND value=1" * 80]
)
def test_a_deep_or_long_filter_is_read(text: str) -> None:
    parse(text, TRIAL_FIELDS)


WORDS = ["value", "state", "params.lr", "=", "<", ":*", "AND", "OR", "NOT", "(", ")", "3", "'a'", "failed"]


@given(st.text(max_size=60) | st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join))
def test_whatever_is_written_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidQueryError):
        parse(text, TRIAL_FIELDS)
