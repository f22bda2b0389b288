"""Connections to an IMAP server, every answer of which is bounded in bytes and in time.

imaplib reads as much as a server announces, and waits anew for each piece of it.
"""

from __future__ import annotations

import imaplib
import socket
import ssl
import time
from typing import Any

from imapclient import IMAPClient

from stream_app.core.errors import ImapError

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
ANSWER_BYTES = 16 * 1024 * 1024  # the numbers of a million mails
_PIECE = 64 * 1024


class Connection(imaplib.IMAP4):
    """imaplib's, over TLS from the beginning, or from `starttls` on."""

    def __init__(self, host: str, port: int, tls_first: ssl.SSLContext | None) -> None:
        self._tls_first = tls_first
        self._came = bytearray()  # and was not asked for yet
        self.allow(seconds=CONNECT_SECONDS)
        super().__init__(host, port, timeout=CONNECT_SECONDS)

    def allow(self, most: int = ANSWER_BYTES, seconds: float = ANSWER_SECONDS) -> None:
        """From now on the server may send so many bytes, in so many seconds."""
        self._left = most
        self._until = time.monotonic() + seconds

    @property
    def has_more(self) -> bool:
        """Whether something came that no look at the socket would show."""
        return bool(self._came) or (
            isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0
        )

    def hang_up(self) -> None:
        """End the connection, from any thread: who reads it meets its end."""
        socket.socket.shutdown(self.sock, socket.SHUT_RDWR)  # TLS's own would wait for its turn

    def readline(self) -> bytes:
        """The next line, with its end."""
        searched = 0
        while (end := self._came.find(b"\n", searched) + 1) == 0:
            searched = len(self._came)
            self._receive()
        return self._taken(end)

    def read(self, size: int) -> bytes:
        """The next `size` bytes: a literal."""
        if size > self._left + len(self._came):
            raise ImapError(f"{self.host} sends more than was asked for")
        while len(self._came) < size:
            self._receive()
        return self._taken(size)

    def starttls(self, ssl_context: ssl.SSLContext | None = None) -> Any:
        """Go on over TLS. Nothing that came in the clear is believed."""
        assert ssl_context is not None
        answer = self._simple_command("STARTTLS")
        if answer[0] != "OK" or self._came:
            raise ImapError(f"{self.host} refuses STARTTLS")
        self.sock = ssl_context.wrap_socket(self.sock, server_hostname=self.host)
        self._get_capabilities()  # those told before are anybody's
        return answer

    def _create_socket(self, timeout: float | None) -> socket.socket:
        plain = socket.create_connection((self.host, self.port), timeout)
        if self._tls_first is None:
            return plain
        return self._tls_first.wrap_socket(plain, server_hostname=self.host)

    def _receive(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.sock.settimeout(left)
        piece = self.sock.recv(_PIECE)
        if not piece:
            raise ImapError(f"{self.host} has hung up")
        self._left -= len(piece)
        if self._left < 0:
            raise ImapError(f"{self.host} sends more than was asked for")
        self._came += piece

    def _taken(self, size: int) -> bytes:
        taken = bytes(self._came[:size])
        del self._came[:size]
        return taken


class Client(IMAPClient):  # type: ignore[misc] # IMAPClient has no types
    """IMAPClient over such a connection."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, starttls: bool) -> None:
        self._context = context
        super().__init__(host, port, ssl=not starttls, timeout=CONNECT_SECONDS)
        self.connection.debug = 0  # IMAPClient has imaplib write all that comes as text, for a log
        if starttls:
            self.starttls(context)

    @property
    def connection(self) -> Connection:
        """What it speaks by."""
        connection: Connection = self._imap
        return connection

    def idle(self) -> None:
        """As IMAPClient's, with a server that has something to say before it says that it idles."""
        connection = self.connection
        self._idle_tag = connection._command("IDLE")
        while connection._get_response() is not None:
            if connection.tagged_commands[self._idle_tag]:
                raise ImapError(f"{self.host} does not idle")

    def _create_IMAP4(self) -> Connection:  # noqa: N802 # IMAPClient's name
        return Connection(self.host, self.port, self._context if self.ssl else None)
