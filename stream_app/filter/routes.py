"""Which route a mail server's messages take."""

from __future__ import annotations

from stream_app.core.errors import ConfigError
from stream_app.core.settings import RouteSettings, Settings


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
