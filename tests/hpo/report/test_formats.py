"""Tables of a study in every format: what pandas reads back is what is stored."""

from __future__ import annotations

import io
import json
import math
import tracemalloc
from typing import Any

import pandas as pd
import pytest

from hpo import specfile
from hpo.errors import StudyNotFoundError
from hpo.protocols import Page
from hpo.report import formats
from hpo.report.formats import Format, export, guarded
from hpo.report.tables import What, metrics_of, pages, trial_of
from hpo.store.memory import MemoryStore
from hpo.trial import (
    Action,
    Checkpoint,
    Decision,
    Event,
    FailureCause,
    Inheritance,
    Measurement,
    Row,
    Trial,
    TrialState,
)

SPEC: dict[str, Any] = {
    "name": "mine",
    "trainable": "mine:train",
    "parameters": {
        "optimizer": {"type": "categorical", "choices": ["adam", "sgd", "-odd"]},
        "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True, "mutable": True},
        "momentum": {"type": "float", "low": 0.0, "high": 0.9, "when": {"optimizer": ["sgd"]}},
        "layers": {"type": "int", "low": 1, "high": 2**53, "when": {"optimizer": ["adam"]}},
        "nesterov": {"type": "bool", "when": {"optimizer": ["sgd"]}},
        "mixed": {"type": "categorical", "choices": ["auto", 1, 1.5, True]},
    },
    "objective": {"metric": "loss", "direction": "minimize"},
    "budget": {"trials": 8, "steps_per_trial": 9},
}
AT = 1_764_000_000.123456
TRIALS = [
    Trial(
        study="mine", number=0, params={"optimizer": "adam", "lr": 0.1 + 0.2, "layers": 2**53 - 1, "mixed": True},
        state=TrialState.COMPLETED, step=2, value=0.5, value_step=1, value_generation=0, created_at=AT,
        started_at=AT + 1, ended_at=AT + 2,
    ),
    Trial(
        study="mine", number=1, params={"optimizer": "sgd", "lr": 1e-5, "momentum": 0.5, "nesterov": False, "mixed": 1},
        value_params={"optimizer": "sgd", "lr": 0.25, "momentum": 0.5, "nesterov": False, "mixed": 1},
        state=TrialState.STOPPED, step=1, value=1e-300, value_step=1, value_generation=0, generation=1, parent=0,
        created_at=AT, message="=HYPERLINK(1)\nrung 1: too bad, \"so\" stopped — 停止",
    ),
    Trial(
        study="mine", number=2, params={"optimizer": "-odd", "lr": 1.0, "mixed": "auto"}, state=TrialState.FAILED,
        cause=FailureCause.NON_FINITE, created_at=AT,
    ),
]  # fmt: skip
REPORTS = [
    Measurement(study="mine", trial=0, step=1, metrics={"loss": 0.5, "far": -math.inf}, recorded_at=AT),
    Measurement(study="mine", trial=1, step=1, metrics={"loss": math.nan, "acc": 0.1}, recorded_at=AT + 1),
    Measurement(study="mine", trial=0, step=2, metrics={"loss": 7.0}, recorded_at=AT + 2),
]


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.create_study(specfile.parse(SPEC))
    lease = store.claim("mine", holder="test", lease_seconds=60)
    key: dict[str, Any] = {"study": "mine", "trial": 1, "step": 1, "recorded_at": AT}
    others: list[Row] = [
        Decision(**key, action=Action.STOP, reason="rung 1", rung=1, cutoff=0.25),
        Checkpoint(**key, path="/somewhere/1", size_bytes=2**40),
        Inheritance(**key, generation=1, donor=0, donor_generation=0, params={"lr": 1e-5}, path="/somewhere/0"),
        Event(study="mine", kind="study.placed", data={"groups": [1, 2], "odd": math.nan}, recorded_at=AT),
    ]
    store.write(lease, [*TRIALS, *REPORTS, *others])
    return store


def read(store: MemoryStore, what: What, format: Format) -> pd.DataFrame:
    content = io.BytesIO(b"".join(export(store, "mine", what=what, format=format)))
    match format:
        case Format.CSV:
            return pd.read_csv(content)
        case Format.PARQUET:
            return pd.read_parquet(content)
        case Format.JSON:
            return pd.DataFrame(json.load(content))
        case Format.JSONL:
            return pd.read_json(content, lines=True, precise_float=True, dtype=False)


def same(found: Any, wanted: Any) -> bool:
    """Whether a cell is the value; what isn't there is missing."""
    if wanted is None:
        return found is None or bool(pd.isna(found))
    if isinstance(wanted, float) and math.isnan(wanted):
        return math.isnan(float(found))
    return bool(type(wanted)(found) == wanted)


@pytest.mark.parametrize("format", Format)
def test_pandas_reads_every_trial_back_with_its_parameters_and_its_last_report(
    store: MemoryStore, format: Format
) -> None:
    frame = read(store, What.TRIALS, format)
    assert list(frame["number"]) == [0, 1, 2]
    for row, trial in zip(frame.to_dict("records"), TRIALS, strict=True):
        assert same(row["state"], trial.state.value)
        assert same(row["value"], trial.value)
        assert same(row.get("parent"), trial.parent)
        assert same(row.get("cause"), trial.cause and trial.cause.value)
        for name in SPEC["parameters"]:
            wanted = trial.params.get(name)
            if format in (Format.CSV, Format.PARQUET) and name == "mixed":
                wanted = json.dumps(wanted)
            if format is Format.CSV and isinstance(wanted, str):
                wanted = guarded(wanted)
            if format in (Format.JSON, Format.JSONL) and wanted is None:
                assert same(row.get(f"params.{name}"), None)
            else:
                assert same(row[f"params.{name}"], wanted), (name, wanted)
    last = dict(zip(frame["number"], frame["metrics.loss"], strict=True))
    assert float(last[0]) == 7.0
    assert pd.isna(last[2])


@pytest.mark.parametrize("format", Format)
def test_pandas_reads_every_measurement_back_not_finite_ones_too(store: MemoryStore, format: Format) -> None:
    frame = read(store, What.MEASUREMENTS, format)
    found = [
        (row["trial"], row["step"], metrics_of({key: value for key, value in row.items() if not missing(row, key)}))
        for row in frame.to_dict("records")
    ]
    wanted = [(row.trial, row.step, dict(row.metrics)) for row in REPORTS]
    assert [each[:2] for each in found] == [each[:2] for each in wanted]
    assert found[0][2] == {"loss": 0.5, "far": -math.inf}
    assert found[2][2] == {"loss": 7.0}
    if format in (Format.JSON, Format.JSONL):  # pandas itself doesn't tell NaN from missing in the others
        assert math.isnan(found[1][2].pop("loss"))
    assert found[1][2] == {"acc": 0.1}


def missing(row: dict[str, Any], key: str) -> bool:
    return not isinstance(row[key], str) and bool(pd.isna(row[key]))


def test_csv_and_parquet_tell_a_metric_that_is_nan_from_one_that_is_missing(store: MemoryStore) -> None:
    import pyarrow.parquet as pq

    lines = b"".join(export(store, "mine", what=What.MEASUREMENTS, format=Format.CSV)).decode().splitlines()
    assert lines[0] == "trial,generation,step,recorded_at,metrics.loss,metrics.far,metrics.acc"
    assert [line.split(",", 4)[4] for line in lines[1:]] == ["0.5,-Infinity,", "NaN,,0.1", "7.0,,"]
    content = b"".join(export(store, "mine", what=What.MEASUREMENTS, format=Format.PARQUET))
    loss, acc = (pq.read_table(io.BytesIO(content))[f"metrics.{name}"].to_pylist() for name in ("loss", "acc"))
    assert math.isnan(loss[1])
    assert acc == [None, 0.1, None]


def test_types_are_right_in_parquet(store: MemoryStore) -> None:
    import pyarrow.parquet as pq

    content = b"".join(export(store, "mine", what=What.TRIALS, format=Format.PARQUET))
    table = pq.read_table(io.BytesIO(content))
    kinds = {field.name: str(field.type) for field in table.schema}
    assert kinds["params.layers"] == kinds["parent"] == "int64"
    assert kinds["params.lr"] == kinds["value_params.lr"] == kinds["metrics.loss"] == "double"
    assert kinds["params.nesterov"] == "bool"
    assert kinds["params.optimizer"] == "string"
    assert kinds["created_at"] == "timestamp[us, tz=UTC]"
    rows = table.to_pylist()
    assert [row["params.layers"] for row in rows] == [2**53 - 1, None, None]
    assert [row["params.nesterov"] for row in rows] == [None, False, None]
    assert [row["value_params.lr"] for row in rows] == [None, 0.25, None]
    assert rows[0]["created_at"].timestamp() == pytest.approx(AT, abs=1e-6)
    assert rows[1]["message"] == TRIALS[1].message


def test_a_row_of_json_is_the_whole_trial_again(store: MemoryStore) -> None:
    lines = b"".join(export(store, "mine", what=What.TRIALS, format=Format.JSONL)).splitlines()
    assert [trial_of("mine", json.loads(line)) for line in lines] == TRIALS


def test_no_cell_of_csv_is_run_by_a_spreadsheet_and_every_text_can_be_had_back(store: MemoryStore) -> None:
    frame = read(store, What.TRIALS, Format.CSV)
    assert frame["message"][1] == "'" + str(TRIALS[1].message)
    assert frame["params.optimizer"][2] == "'-odd"
    for text in ("=1+1", "+1", "-1", "@x", "\tx", "\rx", "'x", "''", "plain", "", "a=b"):
        cell = guarded(text)
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
        assert cell.removeprefix("'") == text


@pytest.mark.parametrize("what", What)
@pytest.mark.parametrize("format", Format)
def test_every_table_has_as_many_rows_as_the_study(store: MemoryStore, what: What, format: Format) -> None:
    counts = {What.TRIALS: 3, What.MEASUREMENTS: 3, What.EVENTS: len(store.events("mine", limit=1000))}
    assert len(read(store, what, format)) == counts.get(what, 1)


@pytest.mark.parametrize("format", Format)
def test_a_study_without_rows_is_an_empty_table(format: Format) -> None:
    store = MemoryStore()
    store.create_study(specfile.parse(SPEC))
    content = b"".join(export(store, "mine", what=What.TRIALS, format=format))
    if format is Format.CSV:
        assert content.startswith(b"number,state,value,")
    elif format is Format.PARQUET:
        assert len(pd.read_parquet(io.BytesIO(content))) == 0
    else:
        assert content.strip() == (b"[]" if format is Format.JSON else b"")


def test_an_unknown_study_is_refused_before_the_first_byte() -> None:
    with pytest.raises(StudyNotFoundError):
        export(MemoryStore(), "nobody", what=What.TRIALS, format=Format.CSV)


class Endless(MemoryStore):
    """A store that makes a study's measurements up as they are asked for, so that it keeps none itself."""

    num_measurements = 0

    def measurements(
        self, study: str, *, trial: int | None = None, page_size: int = 100, page_token: str | None = None
    ) -> Page[Measurement]:
        first = int(page_token or 0)
        end = min(first + page_size, self.num_measurements)
        found = [
            Measurement(study=study, trial=n // 100, step=n % 100 + 1, metrics={"loss": n / 7}, recorded_at=AT)
            for n in range(first, end)
        ]
        return Page(found, str(end) if end < self.num_measurements else None)


@pytest.mark.parametrize("format", Format)
def test_memory_does_not_grow_with_the_measurements(format: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "ROW_GROUP", 1_000)
    store = Endless()
    store.create_study(specfile.parse(SPEC))

    def peak(num_measurements: int) -> int:
        store.num_measurements = num_measurements
        tracemalloc.start()
        for _ in export(store, "mine", what=What.MEASUREMENTS, format=format):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(2_000)  # what is loaded once
    few, many = peak(4_000), peak(16_000)
    assert many < 1.3 * few


def test_pages_follow_one_another_to_the_last() -> None:
    by_token = {None: Page([1, 2], "b"), "b": Page([], "c"), "c": Page([3])}
    assert list(pages(lambda page_size, page_token: by_token[page_token])) == [1, 2, 3]
