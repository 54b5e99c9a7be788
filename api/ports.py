"""Whether a port is free, said before a server finds out."""

from __future__ import annotations

import socket

from hpo.errors import ServiceError


def is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def check_free(host: str, port: int, setting: str, who: str) -> None:
    """Raise ServiceError if the port can't be had."""
    if not is_free(host, port):
        raise ServiceError(
            f"port {port} on {host} is taken, but {who} needs it; end the program that holds it "
            f"(ss -ltnp | grep :{port}), or set {setting} to a free port"
        )
