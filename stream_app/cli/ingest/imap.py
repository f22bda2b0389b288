"""`winnow ingest imap`: the mail of a hosted mailbox to its route's input topic."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec

from stream_app.cli.options import ConfigFile, Format, Level
from stream_app.configuration import load_settings
from stream_app.core.errors import ConfigError
from stream_app.core.logs import configure_logging
from stream_app.core.settings import Settings


def imap(
    config: ConfigFile,
    log_level: Level = "info",
    log_format: Format = "text",
) -> None:
    """Send the mail of an IMAP account to its route's input topic, until SIGTERM or Ctrl-C.

    Account and mailboxes are those of `[imap]`. They are only read: no mail is marked as seen.
    """
    configure_logging(log_level, log_format)
    settings = imap_settings(load_settings(config))
    route = settings.route_of("rfc822", settings.imap.route, "imap.route")
    from stream_app.sources.imap import work  # of an extra

    asyncio.run(work.ingest_imap(settings, route))


def imap_settings(settings: Settings) -> Settings:
    """Settings that name an account. Raises ConfigError where they do not."""
    imap = settings.imap
    for key, value in {
        "host": imap.host,
        "user": imap.user,
        "password_file (or token_file)": imap.password_file or imap.token_file,
    }.items():
        if not value:
            raise ConfigError(f"imap.{key} is missing: [imap] names the account")
    if find_spec("imapclient") is None:
        raise ConfigError("IMAP needs an extra: pip install 'winnow-stream[mail]'")
    return settings
