"""Who may ask a process over HTTP: the loopback, or whoever holds the token of a file."""

from __future__ import annotations

import hmac
from ipaddress import ip_address

from aiohttp import web

from stream_app.core.errors import ConfigError
from stream_app.core.settings.files import secret_in

LOOPBACK = "127.0.0.1"


def address(where: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`; without a host it is the loopback."""
    host, _, port = where.rpartition(":")
    return host.strip("[]") or LOOPBACK, int(port)


def bearer_token(section: str, token_file: str, host: str) -> str:
    """The token in `token_file`; "" where none is given and only the loopback can ask.

    `section` of the configuration has the setting. Raises ConfigError where a token is needed and
    missing, or its file cannot be used.
    """
    if token_file:
        return secret_in(token_file, f"{section}.token_file").strip()
    if not _is_loopback(host):
        raise ConfigError(
            f"{section}: {host} can be reached from other machines: give {section}.token_file, a "
            "file with the bearer token that clients must send"
        )
    return ""


def is_allowed(request: web.Request, token: str) -> bool:
    """Whether a request brings the token; any does where there is none."""
    given = request.headers.get("Authorization", "").encode("utf-8", "replace")
    return not token or hmac.compare_digest(given, f"Bearer {token}".encode())


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
