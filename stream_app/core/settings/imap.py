"""`[imap]`: a mailbox on somebody else's server, its account, and what happens to its mail."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from stream_app.core.settings.files import secret_in, trusting
from stream_app.core.settings.sections import Section

TLS_PORT, STARTTLS_PORT = 993, 143

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class ImapSettings(Section):
    """Of one account, for `winnow ingest imap` and `winnow sink imap`."""

    route: str = ""  # of the mail; the only one of format rfc822 if not given
    host: str = Field("", pattern=r"^[A-Za-z0-9.:_-]*$")
    port: int = Field(0, ge=0, le=65535)  # 0: 993, or 143 with starttls
    starttls: bool = False
    ca_file: str = ""  # PEM; the system's CAs where not given
    user: str = Field("", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
    password_file: str = ""
    token_file: str = ""  # an OAuth 2.0 access token, instead of a password
    mailboxes: tuple[Name, ...] = Field(("INBOX",), min_length=1, max_length=10)
    from_beginning: bool = False
    poll_seconds: float = Field(60.0, ge=1, le=3600)
    state: Path = Path(".winnow/imap.db")
    http: str = Field("127.0.0.1:9117", pattern=r"^\S+:\d{1,5}$")
    move: dict[Name, Name] = Field(default_factory=lambda: {"spam": r"\Junk"})
    sink_http: str = Field("127.0.0.1:9118", pattern=r"^\S+:\d{1,5}$")

    @model_validator(mode="after")
    def _is_coherent(self) -> ImapSettings:
        if self.password_file and self.token_file:
            raise ValueError("give password_file or token_file, not both")
        if "unsure" in self.move:
            raise ValueError("move: mail with the decision 'unsure' stays where it is")
        return self

    @property
    def account(self) -> tuple[str, str]:
        """User and server: whose mail it is."""
        return self.user, self.host

    @property
    def server(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port or (STARTTLS_PORT if self.starttls else TLS_PORT)

    def secret(self) -> str:
        """The password or the token, read anew each time. Raises ConfigError."""
        key = "token_file" if self.token_file else "password_file"
        return secret_in(getattr(self, key), f"imap.{key}")

    def tls(self) -> ssl.SSLContext:
        """How the server's certificate is checked: always. Raises ConfigError."""
        return trusting(self.ca_file, "imap.ca_file")
