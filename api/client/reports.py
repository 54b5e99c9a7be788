"""What a study comes to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from api.client.connection import Connection, at, query_of, write_file
from api.reports import ImportancesAnswer, ParetoAnswer, RungsAnswer, RungValueAnswer
from api.schemas.base import ListAnswer


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

    def rung(
        self, study: str, step: int, *, page_size: int = 100, page_token: str | None = None
    ) -> ListAnswer[RungValueAnswer]:
        """What each trial had at the rung of this step, by number."""
        query = query_of(page_size=page_size, page_token=page_token)
        return self._parse(ListAnswer[RungValueAnswer], self._send("GET", at(study, "rungs", step), params=query))
