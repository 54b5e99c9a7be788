"""TLS by the settings: what the service shows, what a client trusts, and why the two don't come together."""

from __future__ import annotations

import re
import socket
import ssl
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from api.settings import Settings
from hpo.errors import ServiceError

PROBE_SECONDS = 3.0
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\s", re.DOTALL)
_WRONG_NAME = frozenset({62, 64})
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
_EXPIRED = 10
"""X509_V_ERR_CERT_HAS_EXPIRED."""


class Pair(NamedTuple):
    """What the service shows, and proves that it is its own."""

    cert: Path
    key: Path


def pair(settings: Settings) -> Pair | None:
    """The service's certificate and key, or None where it speaks plain HTTP. Raises ServiceError unless they can be
    read and belong together."""
    cert, key = settings.tls_cert, settings.tls_key
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        given, missing = ("HPO_TLS_CERT", "HPO_TLS_KEY") if key is None else ("HPO_TLS_KEY", "HPO_TLS_CERT")
        raise ServiceError(f"{given} is set, but {missing} isn't, and TLS needs both; set {missing}, or neither")
    for name, path, what in (("HPO_TLS_CERT", cert, "certificate"), ("HPO_TLS_KEY", key, "private key")):
        _readable(name, path, what)
    try:
        # An empty passphrase rather than a prompt, at which a service in the background would wait for ever.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            fault = f"the key {key} is not that of the certificate {cert}"
            raise ServiceError(f"HPO_TLS_KEY: {fault}; name the one that it was issued for") from None
        if not _CERTIFICATE.search(_text(cert)):
            raise ServiceError(f"HPO_TLS_CERT: {cert} holds no certificate; name a PEM file, with its chain") from None
        fault = f"{key} holds no private key without a passphrase"
        raise ServiceError(f"HPO_TLS_KEY: {fault}; name a PEM file, and protect it by its mode (chmod 600)") from None
    except ValueError:  # longer than OpenSSL takes
        raise ServiceError(f"HPO_TLS_KEY: {key} holds no private key; name a PEM file") from None
    return Pair(cert, key)


def trust(settings: Settings) -> ssl.SSLContext | None:
    """Whose certificates a client takes: those of the authority in HPO_TLS_CA; on the machine of the service, where no
    other address is set, its own; else None for those of the public authorities. Raises ServiceError."""
    if settings.tls_ca is not None:
        _readable("HPO_TLS_CA", settings.tls_ca, "certificate of the authority that signs the service's")
        try:
            return ssl.create_default_context(cafile=str(settings.tls_ca))
        except (ssl.SSLError, ValueError):
            fault = f"{settings.tls_ca} holds no certificate"
            raise ServiceError(f"HPO_TLS_CA: {fault}; name the authority's PEM file") from None
    return own(settings) if settings.url == settings.local_url else None


def own(settings: Settings) -> ssl.SSLContext | None:
    """Trust in this service's certificate and no other, whatever name it is for: it is asked on its own machine."""
    if settings.tls_cert is None:
        return None
    _readable("HPO_TLS_CERT", settings.tls_cert, "certificate")
    found = _CERTIFICATE.search(_text(settings.tls_cert))  # the first is the service's, the others its authorities'
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cadata=found[0] if found else "")
    except (ssl.SSLError, ValueError):
        fault = f"{settings.tls_cert} holds no certificate"
        raise ServiceError(f"HPO_TLS_CERT: {fault}; name a PEM file, with its chain") from None
    return context


def fault(url: str, error: BaseException) -> str | None:
    """Why a connection to the service came to nothing, if it is for TLS: the fault and its remedy."""
    refused = _cause(error)
    if isinstance(refused, ssl.SSLCertVerificationError):
        said = f"the certificate of {url} is not trusted ({refused.verify_message})"
        if refused.verify_code in _WRONG_NAME:
            return f"{said}; name the service in HPO_URL as its certificate does"
        if refused.verify_code == _EXPIRED:
            return f"{said}; have a new one made for HPO_TLS_CERT, and start the service again"
        return f"{said}; set HPO_TLS_CA to the PEM file of the authority that has signed it"
    if isinstance(refused, ssl.SSLError) and refused.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return f"what listens at {url} doesn't speak TLS; write http:// in HPO_URL, or set HPO_TLS_CERT for the service"
    broke_off = isinstance(error, httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError)
    if broke_off and url.startswith("http://") and speaks(url):
        return f"what listens at {url} speaks TLS only; write https:// in HPO_URL"
    return None


def speaks(url: str) -> bool:
    """Whether TLS is spoken there. Nothing is sent but the greeting."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        parts = urlsplit(url)
        address = parts.hostname or "", parts.port or 80
        with (
            socket.create_connection(address, timeout=PROBE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname),
        ):
            return True
    except (OSError, ValueError):
        return False


def _cause(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


def _readable(name: str, path: Path, what: str) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        why = "there is no such file" if isinstance(error, FileNotFoundError) else f"it can't be read: {error.strerror}"
        raise ServiceError(f"{name}: {path}: {why}; name the PEM file of the {what}") from None


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii", errors="replace") + "\n"
