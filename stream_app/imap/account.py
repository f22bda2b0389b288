"""The account of `[imap]`: sessions with it, and patience where it refuses us."""

from __future__ import annotations

import time

from stream_app.core.errors import ImapRefused
from stream_app.core.settings import ImapSettings
from stream_app.imap.session import Session

REFUSED_SECONDS = 300.0


class Account:
    """Shared by all who connect to it."""

    def __init__(self, settings: ImapSettings) -> None:
        self._settings = settings
        self._refused: tuple[str, str] | None = None  # a secret, and why it was refused
        self._again = 0.0  # when to try it once more, on the monotonic clock

    def session(self) -> Session:
        """A new one. The secret is read anew: a token is renewed, and a password changed.

        One that was refused is not tried again for a while: servers lock an account for that.
        Raises ConfigError, ImapRefused and ImapError as `logged_in` does.
        """
        secret = self._settings.secret()
        if self._refused and self._refused[0] == secret and time.monotonic() < self._again:
            raise ImapRefused(self._refused[1])
        try:
            return Session(self._settings, secret)
        except ImapRefused as error:
            self._refused = (secret, str(error))
            self._again = time.monotonic() + REFUSED_SECONDS
            raise
