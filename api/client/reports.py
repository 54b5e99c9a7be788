"""What a study comes to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from api.client.connection import Connection, at, write_file
from api.reports import ImportancesAnswer, ParetoAnswer, RungsAnswer


class Reports(Connection):
    """A study's report, and its parts as data."""

    def report_page(self, study: str) -> Iterator[bytes]:
        """One self-contained HTML file, in pieces."""
        return self._download(at(study, "report"), f"the report of {study}")

    def write_report(self, study: str, path: Path) -> int:
        """Write the report to a file; how many bytes. The file is there when it is whole."""
        return write_file(path, self.report_page(study))

    def importance(self, study: str) -> ImportancesAnswer:
        """Which parameters matter, the most important first."""
        return self._parse(ImportancesAnswer, self._send("GET", at(study, "importance")))

    def pareto(self, study: str) -> ParetoAnswer:
        """The trials that no other one dominates."""
        return self._parse(ParetoAnswer, self._send("GET", at(study, "pareto")))

    def rungs(self, study: str) -> RungsAnswer:
        """What became of the trials at each rung."""
        return self._parse(RungsAnswer, self._send("GET", at(study, "rungs")))
