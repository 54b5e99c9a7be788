"""Event files for TensorBoard: a folder a run, with its reports as scalars and its configuration for HParams.

`DIR/STUDY-DATE/trial-00007/`. How far all is kept stands in `hpo.json` beside the runs. What was written after that is
written again, into a new file that begins with TensorBoard's own mark of a restart: from its step on, what older files
of the run say counts no more. So each report is there once.

TensorBoard keeps scalars in single precision.
"""

from __future__ import annotations

import json
import os
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import api_pb2, event_pb2, plugin_hparams_pb2, summary_pb2
from tensorboardX.summary import hparams

from hpo.followers.sink import Run
from hpo.spec import Objective
from hpo.trial import Measurement, Params, Study

MAX_OPEN = 100
"""Files; a run that is told of again gets another one."""
KEPT = "hpo.json"
STATUS = {"completed": "STATUS_SUCCESS", "inherited": "STATUS_SUCCESS", "stopped": "STATUS_SUCCESS"}


class TensorBoardSink:
    """The Sink protocol (`hpo.followers.sink`) over event files."""

    def __init__(self, study: Study) -> None:
        begun = time.strftime("%Y%m%d-%H%M%S", time.gmtime(study.created_at))
        # A study of a name that was there before has a folder of its own.
        self.folder = Path(str(study.spec.logging.tensorboard)) / f"{study.name}-{begun}"
        self._objectives = study.spec.objectives
        self._open: OrderedDict[Run, EventsWriter] = OrderedDict()
        self._known: set[Run] = set()
        """The runs whose files this sink has opened before."""
        self._num_files = 0

    def begin(self) -> int:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            return int(json.loads((self.folder / KEPT).read_text(encoding="utf-8"))["last_id"])
        except FileNotFoundError:
            return 0

    def started(self, run: Run, params: Params, *, parent: int | None, at: float) -> None:
        experiment, session, _ = hparams(dict(params), _first(self._objectives))
        writer = self._writer(run, first_step=0)
        for summary in (experiment, session):
            writer.write_event(event_pb2.Event(wall_time=at, step=0, summary=summary))

    def reported(self, run: Run, measurement: Measurement) -> None:
        values = [
            summary_pb2.Summary.Value(tag=name, simple_value=value) for name, value in measurement.metrics.items()
        ]
        self._writer(run, first_step=measurement.step).write_event(
            event_pb2.Event(
                wall_time=measurement.recorded_at, step=measurement.step, summary=summary_pb2.Summary(value=values)
            )
        )

    def ended(self, run: Run, state: str, *, message: str | None, at: float) -> None:
        writer = self._writer(run, first_step=None)
        writer.write_event(event_pb2.Event(wall_time=at, step=0, summary=_end(state, at)))
        writer.close()
        del self._open[run]

    def commit(self, last_id: int) -> None:
        for writer in self._open.values():
            writer.flush()
        part = self.folder / f".{KEPT}.{os.getpid()}"
        part.write_text(json.dumps({"last_id": last_id}), encoding="utf-8")
        part.replace(self.folder / KEPT)

    def close(self) -> None:
        for writer in self._open.values():
            writer.close()
        self._open.clear()

    def _writer(self, run: Run, *, first_step: int | None) -> EventsWriter:
        """The run's file. Where this sink hasn't written to the run yet, what others have written of `first_step` and
        later counts no more."""
        if run in self._open:
            self._open.move_to_end(run)
            return self._open[run]
        if len(self._open) >= MAX_OPEN:
            self._open.popitem(last=False)[1].close()
        folder = self.folder / run.name
        is_new = not folder.exists()
        folder.mkdir(exist_ok=True)
        # TensorBoard reads a run's files in the order of their names; those of one second differ in this number.
        self._num_files += 1
        suffix = f".{time.time_ns():020}.{self._num_files:06}"
        writer = self._open[run] = EventsWriter(str(folder / "events"), suffix)
        if not is_new and run not in self._known and first_step is not None:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            writer.write_event(event_pb2.Event(wall_time=time.time(), step=first_step, session_log=start))
        self._known.add(run)
        return writer


def _first(objectives: tuple[Objective, ...]) -> dict[str, float]:
    """The metrics that HParams shows beside the parameters."""
    return {objective.metric: 0.0 for objective in objectives}


def _end(state: str, at: float) -> summary_pb2.Summary:
    """How HParams is told that a session has ended."""
    status = api_pb2.Status.Value(STATUS.get(state, "STATUS_FAILURE"))
    content: Any = plugin_hparams_pb2.HParamsPluginData(
        session_end_info=plugin_hparams_pb2.SessionEndInfo(status=status, end_time_secs=at), version=0
    )
    plugin = summary_pb2.SummaryMetadata.PluginData(plugin_name="hparams", content=content.SerializeToString())
    value = summary_pb2.Summary.Value(
        tag="_hparams_/session_end_info", metadata=summary_pb2.SummaryMetadata(plugin_data=plugin)
    )
    return summary_pb2.Summary(value=[value])
