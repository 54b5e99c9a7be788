"""All settings, from the environment (HPO_*), read in this one place."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from api.deployment import Rules
from hpo import places
from hpo.engine.files import Address, S3Address, address

SQLITE = "sqlite:///"
_PATTERN = re.compile(r"[A-Za-z_*?][\w*?.]*(:[\w*?]+)?")
S3_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_CA_BUNDLE",
    "AWS_EC2_METADATA_DISABLED",
)
"""What leads to a storage on S3, and the right to use it: jobs get those that the service has."""


class Settings(BaseSettings):
    """Where things are and who may ask. All paths are absolute, so that jobs on the cluster find the same ones."""

    model_config = SettingsConfigDict(
        env_prefix="HPO_", frozen=True, validate_default=True, extra="ignore", use_attribute_docstrings=True
    )

    home: Path = Path(".hpo")
    """State: database, tokens, packages, logs."""
    database_url: str = ""
    """`sqlite:///$HPO_HOME/hpo.db` unless given; `postgresql://…` for several machines."""
    storage: Annotated[Address, NoDecode] = Path()
    """Checkpoints: a folder (`$HPO_HOME/storage` unless given), or `s3://BUCKET[/PREFIX]`."""
    host: str = "127.0.0.1"
    """Where the service listens; `0.0.0.0` for all interfaces."""
    port: int = 8000
    """The service's."""
    tls_cert: Path | None = None
    """The service speaks TLS with this certificate: a PEM file, with those of its authorities after it."""
    tls_key: Path | None = None
    """The private key of the certificate: a PEM file without a passphrase."""
    tls_ca: Path | None = None
    """The authority whose certificates a client takes: a PEM file; the public ones unless given, and on the machine of
    `hpo up` the service's own."""
    ray_address: str = ""
    """The dashboard of a Ray cluster elsewhere; the head that `hpo up` starts unless given."""
    ray_token: SecretStr | None = None
    """The token of that cluster (its RAY_AUTH_TOKEN); else `$HPO_HOME/ray_token`."""
    dashboard_port: int = 8265
    """Of the dashboard of the head that `hpo up` starts."""
    token: SecretStr | None = None
    """Who has it may do all; else `$HPO_HOME/token`, written at the first start."""
    rate_limit: Annotated[int, Field(ge=0)] = 30_000
    """Requests a minute and token, of which ten seconds' worth may come at once; 0 for any number."""
    preview_seconds: Annotated[float, Field(gt=0)] = 20.0
    """How long the service simulates a study at most, to answer `:preview`."""
    log_format: Literal["text", "json"] = "text"
    """How the service and its drivers log (`hpo.logs`)."""
    trainables: Annotated[tuple[str, ...], NoDecode] = ()
    """What may run here: patterns of trainables with commas between, such as `headlines, team.*:train`; everything
    unless given."""
    packages: Literal["", "on", "off"] = ""
    """Whether working folders of the users' own are taken; `on` unless given, but `off` with HPO_TRAINABLES, since a
    folder can hold another module of a name that is allowed."""
    data_folders: Annotated[tuple[Path, ...] | None, NoDecode] = None
    """Where the data lies that studies may name (`fixed.data` and the like): folders with `:` between them, or `off`
    for what comes with hpo alone; anywhere unless given."""
    logging_targets: Annotated[tuple[str, ...] | None, NoDecode] = None
    """What `[logging]` may name: TensorBoard's folders and MLflow's addresses with commas between, or `off`; anything
    unless given."""
    project: str = ""
    """What the client's requests with the service's own token are about: all projects unless given, and `default` for a
    new study. Any other token has a project of its own."""
    url: str = ""
    """Where clients find the service; `http://$HPO_HOST:$HPO_PORT` unless given, or `https://` with HPO_TLS_CERT."""

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("tls_cert", "tls_key", "tls_ca", mode="before")
    @classmethod
    def _file(cls, given: object) -> object:
        return Path(given).expanduser().absolute() if isinstance(given, str | Path) and str(given) else None

    @field_validator("trainables", mode="before")
    @classmethod
    def _patterns(cls, given: object) -> object:
        patterns = [each.strip() for each in given.split(",")] if isinstance(given, str) else given
        if not isinstance(patterns, list | tuple) or not all(isinstance(each, str) for each in patterns):
            return patterns
        for each in filter(None, patterns):
            if not _PATTERN.fullmatch(each):
                raise ValueError(
                    f"{each!r} is no pattern of trainables; write names with * for any part, such as "
                    "headlines, team.*:train"
                )
        if isinstance(given, str) and given.strip() and not any(patterns):
            raise ValueError(f"{given!r} allows nothing; write patterns such as team.*:train, or drop HPO_TRAINABLES")
        return tuple(filter(None, patterns))

    @field_validator("data_folders", mode="before")
    @classmethod
    def _folders(cls, given: object) -> object:
        return places.folders(given) if isinstance(given, str) else given

    @field_validator("logging_targets", mode="before")
    @classmethod
    def _targets(cls, given: object) -> object:
        return places.targets(given) if isinstance(given, str) else given

    @field_validator("database_url")
    @classmethod
    def _database(cls, url: str, info: ValidationInfo) -> str:
        if not url:
            return f"{SQLITE}{info.data['home'] / 'hpo.db'}"
        path = url.removeprefix(SQLITE)
        if url.startswith(SQLITE) and path and not path.startswith((":memory:", "file:")):
            return f"{SQLITE}{Path(path).expanduser().absolute()}"
        return url

    @field_validator("storage", mode="before")
    @classmethod
    def _storage(cls, given: object, info: ValidationInfo) -> object:
        """Raises StorageError for an address of another kind."""
        storage = address(given) if isinstance(given, str | Path) else given
        if storage == Path() and "home" in info.data:
            return Path(info.data["home"]) / "storage"
        return storage.expanduser().absolute() if isinstance(storage, Path) else storage

    @field_validator("url")
    @classmethod
    def _url(cls, url: str, info: ValidationInfo) -> str:
        if url or "host" not in info.data or "port" not in info.data:
            return url.rstrip("/")
        return _local_url(info.data["host"], info.data["port"], tls=info.data.get("tls_cert") is not None)

    @property
    def local_url(self) -> str:
        """Where the service is found on its own machine."""
        return _local_url(self.host, self.port, tls=self.tls_cert is not None)

    @property
    def rules(self) -> Rules:
        """What may run here."""
        packages = self.packages == "on" or (not self.packages and not self.trainables)
        return Rules(self.trainables, packages, places.Places(self.data_folders, self.logging_targets))

    @property
    def package_folder(self) -> Path:
        """Uploaded working folders."""
        return self.home / "packages"

    def job_environment(self) -> dict[str, str]:
        """What jobs on the cluster need to know."""
        found = {
            "HPO_HOME": str(self.home),
            "HPO_DATABASE_URL": self.database_url,
            "HPO_STORAGE": str(self.storage),
            **self.rules.places.environment(),
        }
        if isinstance(self.storage, S3Address):
            found |= {name: value for name in S3_VARIABLES if (value := os.environ.get(name))}
        return found if self.log_format == "text" else {**found, "HPO_LOG_FORMAT": self.log_format}

    def known_ray_token(self) -> str | None:
        """The token of the Ray cluster, if there is one."""
        if self.ray_token is not None and self.ray_token.get_secret_value():
            return self.ray_token.get_secret_value()
        return _read(self.home / "ray_token")

    def known_token(self) -> str | None:
        """The token, if one is given or was written; the client's."""
        if self.token is not None and self.token.get_secret_value():
            return self.token.get_secret_value()
        return _read(self.home / "token")

    def ensure_token(self) -> str:
        """The token, written to `$HPO_HOME/token` for its owner's eyes only if there is none; the service's."""
        if token := self.known_token():
            return token
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.home / "token"
        path.unlink(missing_ok=True)  # an empty one
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(token := secrets.token_urlsafe(32))
        return token


def _local_url(host: str, port: int, *, tls: bool) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # all interfaces: the loopback is one
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
