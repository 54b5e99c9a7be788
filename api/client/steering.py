"""What may be asked of a study while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from api.client.connection import Connection, at
from api.schemas.studies import StudyAnswer


class Steering(Connection):
    """Every command is taken at once, and takes effect within seconds."""

    def pause(self, study: str) -> StudyAnswer:
        """Give all its workers back until `resume`; taken at once, paused within seconds."""
        return self._steer(study, ":pause")

    def resume(self, study: str) -> StudyAnswer:
        return self._steer(study, ":resume")

    def stop(self, study: str) -> StudyAnswer:
        """End it early, with its result."""
        return self._steer(study, ":stop")

    def cancel(self, study: str) -> StudyAnswer:
        return self._steer(study, ":cancel")

    def change(self, study: str, changes: Mapping[str, Any], *, version: int | None = None) -> StudyAnswer:
        """Another budget, concurrency, priority or labels: `{"budget": {"trials": 64}}`. Refused (412) unless the study
        is at `version`, if given."""
        tag = "*" if version is None else f'"{version}"'
        answer = self._send("PATCH", at(study), json=dict(changes), headers={"If-Match": tag})
        return self._parse(StudyAnswer, answer)

    def fork(
        self, study: str, name: str, *, spec: Mapping[str, Any] | None = None, warm_start: bool = True
    ) -> StudyAnswer:
        """Another study with this one's specification, changed by `spec` (a merge patch), which learns from it."""
        return self._steer(study, ":fork", {"name": name, "spec": dict(spec or {}), "warm_start": warm_start})

    def enqueue(self, study: str, params: Sequence[Mapping[str, Any]]) -> StudyAnswer:
        """Try these configurations next."""
        return self._steer(study, "/trials", {"params": [dict(each) for each in params]})

    def stop_trial(self, study: str, number: int) -> StudyAnswer:
        return self._steer(study, f"/trials/{number}:stop")

    def retry(self, study: str, number: int | None = None, *, cause: str | None = None) -> StudyAnswer:
        """Try a failed trial's configuration again; without a number those of all that failed (by one cause)."""
        if number is not None:
            return self._steer(study, f"/trials/{number}:retry")
        return self._steer(study, "/trials:retry", {"cause": cause})

    def _steer(self, study: str, what: str, body: Mapping[str, Any] | None = None) -> StudyAnswer:
        return self._parse(StudyAnswer, self._send("POST", at(study) + what, json=body))
