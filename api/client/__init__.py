"""The service, for Python: `Client(url, token)`. The `hpo` command uses nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx

from api.client.asking import Asking
from api.client.connection import error_of, query_of
from api.client.events import Events
from api.client.exports import Exports
from api.client.packaging import zipped
from api.client.projects import Projects
from api.client.reports import Reports
from api.client.steering import Steering
from api.schemas.cluster import ClusterAnswer
from api.schemas.service import PackageAnswer, ReadyAnswer

__all__ = ["Client", "zipped"]


class Client(Events, Exports, Reports, Steering, Asking, Projects):
    """All methods raise ServiceError: its status and problems are the service's, or None where none answered."""

    def upload_package(self, folder: Path) -> str:
        """Zip a working folder and upload it; gives its `sha256:…`. The same files give the same digest."""
        content = zipped(folder)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        answer = self._send(
            "PUT", f"/v1/packages/{digest}", content=content, headers={"Content-Type": "application/zip"}
        )
        return self._parse(PackageAnswer, answer).package

    def cluster(self, *, page_size: int = 100, page_token: str | None = None) -> ClusterAnswer:
        """What the cluster has, who holds how much of it, and who waits for what; the studies in pages, by name."""
        query = query_of(page_size=page_size, page_token=page_token)
        return self._parse(ClusterAnswer, self._send("GET", "/v1/cluster", params=query))

    def ready(self) -> ReadyAnswer:
        """Whether the service can run studies, and which part keeps it from that; needs no token."""
        try:
            response = self._http.get("/readyz", timeout=15.0)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        if response.status_code not in (200, 503):
            raise error_of(response)
        return self._parse(ReadyAnswer, response)
