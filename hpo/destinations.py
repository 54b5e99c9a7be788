"""Where a study's reports go beside the store."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from hpo.table import Table, refused


class Logging(Table):
    """Where a study's reports go beside the store. Neither slows the study, and neither can fail it."""

    tensorboard: str | None = None
    """A folder for TensorBoard's event files, at the same absolute path where drivers run."""
    mlflow: str | None = None
    """An MLflow tracking server or database: `http://mlflow:5000`, `sqlite:////data/mlflow.db`."""
    experiment: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """MLflow's experiment; the study's name unless given."""

    @field_validator("tensorboard")
    @classmethod
    def _folder(cls, folder: str | None) -> str | None:
        if folder is not None and not folder.startswith("/"):
            raise refused(
                "", f"{folder!r} is no absolute path, and a driver runs in another folder than you",
                "give a folder from / on that drivers share, such as an NFS mount",
            )  # fmt: skip
        return folder

    @field_validator("mlflow")
    @classmethod
    def _server(cls, uri: str | None) -> str | None:
        if uri is None:
            return None
        try:
            parts = urlsplit(uri)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme in ("", "file") or "://" not in uri:
            raise refused(
                "", f"{uri!r} is no tracking server or database; MLflow's folders of files are in maintenance only",
                "for example http://mlflow:5000, or sqlite:////data/mlflow.db",
            )  # fmt: skip
        if parts.scheme == "sqlite" and not uri.startswith("sqlite:////"):
            raise refused(
                "", f"{uri!r} is no absolute path, and a driver runs in another folder than you",
                "give it with four slashes: sqlite:////data/mlflow.db",
            )  # fmt: skip
        if parts.password:
            raise refused(
                "", "the address holds a password, and whoever may read the study reads its specification",
                "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD where drivers run",
            )  # fmt: skip
        return uri
