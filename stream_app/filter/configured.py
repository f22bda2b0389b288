"""What `[filter]` says, checked: the route of the mail server's messages, and the token of HTTP."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from stream_app.core.errors import ConfigError
from stream_app.core.settings import FilterSettings, RouteSettings, Settings
from stream_app.filter.sockets import address


def mail_route(settings: Settings) -> RouteSettings:
    """The route of the mail server's messages. Raises ConfigError where it is not clear."""
    if settings.filter.route:
        route = settings.route(settings.filter.route)
        if route.format != "rfc822":
            raise ConfigError(
                f"filter.route = {route.name!r}: its format is {route.format}, and a mail server's "
                "messages are rfc822"
            )
        return route
    found = [route for route in settings.routes if route.format == "rfc822"]
    if len(found) != 1:
        names = ", ".join(route.name for route in found) or "none"
        raise ConfigError(
            f"filter.route: name the route of the mail server's messages; of format rfc822: {names}"
        )
    return found[0]


def http_token(settings: FilterSettings) -> str:
    """The token of the HTTP API; '' where there is none. Raises ConfigError where it is needed."""
    if settings.token_file:
        file = Path(settings.token_file)
        try:
            found = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"filter.token_file {file} cannot be read: {error}") from None
        if not found:
            raise ConfigError(f"filter.token_file {file} is empty")
        return found
    host, _ = address(settings.http)
    if not _is_loopback(host):
        raise ConfigError(
            f"filter.http: {host} can be reached from other machines: give filter.token_file, a "
            "file with the bearer token that clients must send"
        )
    return ""


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
