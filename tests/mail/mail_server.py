"""A mail server of one's own: Debian's Postfix and Dovecot on free ports, with private folders."""

from __future__ import annotations

import re
import shutil
import smtplib
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from imaplib import IMAP4
from pathlib import Path

from tests.conftest import ROOT, free_port
from tests.mail.settings import (
    DEPLOY,
    DOMAIN,
    run,
    skip_without,
    winnow_s_milter,
    write_dovecot,
    write_postfix,
)

PROGRAMS = (
    "/usr/sbin/postfix",
    "/usr/sbin/dovecot",
    "/usr/bin/sievec",
    "/usr/lib/dovecot/lmtp",
    "/usr/lib/dovecot/imap",
    "/usr/bin/curl",
)
PATIENCE = 120.0


def example(name: str) -> bytes:
    """A mail as SMTP carries it, without the header that Postfix takes away."""
    lines = (ROOT / "examples" / "mail" / f"{name}.eml").read_bytes().splitlines()
    return b"".join(line + b"\r\n" for line in lines if not line.startswith(b"Return-Path:"))


SPAM, HAM = example("spam-work-at-home"), example("ham-meeting-notes")


@dataclass(frozen=True)
class Delivered:
    """A mail in a mailbox, and in which folder of it."""

    folder: str
    message: Message


@dataclass(frozen=True)
class MailServer:
    """A running one."""

    folder: Path
    ports: Mapping[str, int]  # of SMTP, by the milter that mail goes through

    @property
    def filtered(self) -> int:
        """The filter, with the time-outs of deploy/."""
        return self.ports["filtered"]

    @property
    def patient(self) -> int:
        """The filter, with time-outs that no busy machine reaches."""
        return self.ports["patient"]

    @property
    def unfiltered(self) -> int:
        """No milter."""
        return self.ports["unfiltered"]

    @property
    def listen(self) -> str:
        """The filter's address, as `winnow filter --listen` takes it."""
        return f"unix:{self.folder}/spool/winnow/filter.sock"

    @property
    def settings(self) -> dict[str, str]:
        """`[filter]` of a filter that takes corrections."""
        return {"token_file": str(self.folder / "token")}

    @property
    def log(self) -> str:
        """What Postfix and Dovecot have said."""
        files = (self.folder / "spool" / "maillog", self.folder / "dovecot.log")
        return "\n".join(file.read_text("utf-8", "replace") for file in files if file.exists())

    @contextmanager
    def session(self, port: int | None = None) -> Iterator[smtplib.SMTP]:
        """A connection of a client, for many mails."""
        with smtplib.SMTP("127.0.0.1", port or self.filtered, timeout=PATIENCE) as smtp:
            yield smtp

    def send(self, user: str, mail: bytes, port: int | None = None) -> None:
        """Send one mail over a connection of its own; raises unless it was accepted."""
        with self.session(port) as smtp:
            smtp.sendmail("sender@remote.test", [f"{user}@{DOMAIN}"], mail)

    @contextmanager
    def imap(self, user: str) -> Iterator[IMAP4]:
        """A mail program of a user's, with the inbox open."""
        with IMAP4("127.0.0.1", self.ports["imap"], timeout=PATIENCE) as imap:
            imap.login(f"{user}@{DOMAIN}", "any")
            imap.select("INBOX")
            yield imap

    def mailbox(self, user: str) -> list[Delivered]:
        """What a user has got, in any folder."""
        root = self.folder / "mail" / f"{user}@{DOMAIN}"
        folders = {"INBOX": root / "new", "Junk": root / ".Junk" / "new"}  # a folder comes late
        return [
            Delivered(name, message_from_bytes(file.read_bytes()))
            for name, folder in folders.items()
            for file in folder.glob("*")
        ]

    def delivered(self, user: str, count: int) -> list[Delivered]:
        """What a user has got, once there are so many mails."""
        deadline = time.monotonic() + PATIENCE
        while len(found := self.mailbox(user)) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count}:\n{self.log[-3000:]}"
            time.sleep(0.05)  # a mailbox offers no event to await
        return found


def someone() -> str:
    """A user whom no other test has."""
    return f"u{uuid.uuid4().hex[:10]}"


@contextmanager
def mail_server(
    others: Mapping[str, str] | None = None, sieve: str = "dovecot/winnow.sieve"
) -> Iterator[MailServer]:
    """Postfix and Dovecot, until the end of the block. `others` are milters besides Winnow's: each
    has a port of its own. `sieve`, of deploy/, files spam."""
    skip_without(PROGRAMS)
    patient = re.sub(r"timeout=\ds", "timeout=90s", winnow_s_milter())
    milters = {"patient": patient, **(others or {})}
    names = ("filtered", "unfiltered", "lmtp", "imap", "http", *milters)
    ports = {name: free_port() for name in names}
    folder = Path(tempfile.mkdtemp(prefix="winnow-mail-"))
    folder.chmod(0o755)  # users of the servers' own must come through
    try:
        write_postfix(folder, ports, milters)
        write_dovecot(folder, ports, DEPLOY / sieve)
        run("dovecot", "-c", folder / "dovecot.conf")
        try:
            run("postfix", "-c", folder / "postfix", "start")
            try:
                yield MailServer(folder, ports)
            finally:
                run("postfix", "-c", folder / "postfix", "stop")
        finally:
            run("doveadm", "-c", folder / "dovecot.conf", "stop")
    finally:
        shutil.rmtree(folder)
