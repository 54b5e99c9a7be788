"""A study as a table, to take away, and a finished study from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from api.client.connection import PATIENCE_SECONDS, Connection, at, write_file
from api.schemas.studies import StudyAnswer
from hpo.errors import ServiceError
from hpo.report.formats import finite
from hpo.spec import StudySpec
from hpo.specfile import to_data

SUFFIXES = {".csv": "csv", ".parquet": "parquet", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}


class Exports(Connection):
    """Tables of a study: trials, measurements, decisions, checkpoints, inheritances or events."""

    def export(self, study: str, *, what: str = "trials", format: str = "csv") -> Iterator[bytes]:
        """A table in pieces, as it comes: csv, parquet, json (one array) or jsonl (an object a line)."""
        return self._download(at(study, "export"), f"the export of {study}", what=what, format=format)

    def export_to(self, study: str, path: Path, *, what: str = "trials", format: str | None = None) -> int:
        """Write a table to a file, in the format of its suffix unless one is given; how many bytes. The file is there
        when it is whole. Raises ServiceError for another suffix, too."""
        if format is None and (format := SUFFIXES.get(path.suffix.lower())) is None:
            raise ServiceError(
                f"{path}: {path.suffix or 'no suffix'} is no format of a table; "
                f"name it {', '.join(dict.fromkeys(SUFFIXES))}, or give the format"
            )
        return write_file(path, self.export(study, what=what, format=format))

    def import_study(
        self, spec: StudySpec | Mapping[str, Any], trials: Sequence[Mapping[str, Any]], *, source: str = "elsewhere"
    ) -> StudyAnswer:
        """Make a finished study out of trials that were run elsewhere; a new study's `warm_start` can name it."""
        data = to_data(spec) if isinstance(spec, StudySpec) else dict(spec)
        body = finite({"spec": data, "trials": trials, "source": source})
        answer = self._send("POST", "/v1/studies:import", json=body, timeout=PATIENCE_SECONDS)
        return self._parse(StudyAnswer, answer)
