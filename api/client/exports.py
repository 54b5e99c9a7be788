"""A study as a table, to take away, and a finished study from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from api.client.connection import Connection, at, error_of, query_of
from api.schemas import StudyAnswer
from hpo.errors import ServiceError
from hpo.report.formats import finite
from hpo.spec import StudySpec
from hpo.specfile import to_data

SUFFIXES = {".csv": "csv", ".parquet": "parquet", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}
PATIENCE_SECONDS = 600.0
"""The first byte of a table with named columns comes when all of its rows were read."""


class Exports(Connection):
    """Tables of a study: trials, measurements, decisions, checkpoints, inheritances or events."""

    def export(self, study: str, *, what: str = "trials", format: str = "csv") -> Iterator[bytes]:
        """A table in pieces, as it comes: csv, parquet, json (one array) or jsonl (an object a line)."""
        timeout = httpx.Timeout(30.0, read=PATIENCE_SECONDS)
        query = query_of(what=what, format=format)
        try:
            with self._http.stream("GET", at(study, "export"), params=query, timeout=timeout) as response:
                if response.status_code != 200:
                    response.read()
                    raise error_of(response)
                yield from response.iter_bytes()
        except httpx.RemoteProtocolError as error:
            raise ServiceError(f"the export of {study} broke off ({error}); try it again") from None
        except (httpx.TransportError, httpx.StreamError) as error:
            raise self._unreachable(error) from None

    def export_to(self, study: str, path: Path, *, what: str = "trials", format: str | None = None) -> int:
        """Write a table to a file, in the format of its suffix unless one is given; how many bytes. The file is there
        when it is whole. Raises ServiceError for another suffix, too."""
        if format is None and (format := SUFFIXES.get(path.suffix.lower())) is None:
            raise ServiceError(
                f"{path}: {path.suffix or 'no suffix'} is no format of a table; "
                f"name it {', '.join(dict.fromkeys(SUFFIXES))}, or give the format"
            )
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                size = sum(file.write(piece) for piece in self.export(study, what=what, format=format))
            part.replace(path)
        except OSError as error:
            raise ServiceError(f"{path} can't be written ({error.strerror}); give another file") from None
        finally:
            part.unlink(missing_ok=True)
        return size

    def import_study(
        self, spec: StudySpec | Mapping[str, Any], trials: Sequence[Mapping[str, Any]], *, source: str = "elsewhere"
    ) -> StudyAnswer:
        """Make a finished study out of trials that were run elsewhere; a new study's `warm_start` can name it."""
        data = to_data(spec) if isinstance(spec, StudySpec) else dict(spec)
        body = finite({"spec": data, "trials": trials, "source": source})
        answer = self._send("POST", "/v1/studies:import", json=body, timeout=PATIENCE_SECONDS)
        return self._parse(StudyAnswer, answer)
