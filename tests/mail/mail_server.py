"""A mail server of one's own: Debian's Postfix and Dovecot on free ports, with private folders."""

from __future__ import annotations

import os
import re
import shutil
import smtplib
import subprocess
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

import pytest

from tests.conftest import ROOT, free_port
from tests.mail.settings import DOVECOT_CONF, MAIN_CF, MASTER_CF

PROGRAMS = (
    "/usr/sbin/postfix",
    "/usr/sbin/dovecot",
    "/usr/bin/sievec",
    "/usr/lib/dovecot/lmtp",
    "/usr/lib/dovecot/imap",
    "/usr/bin/curl",
)
DEPLOY = ROOT / "deploy"
DOMAIN = "example.test"
GROUP = "mail"  # in the place of winnow's
TOKEN = "hush"
PATIENCE = 120.0


def example(name: str) -> bytes:
    """A mail as SMTP carries it, without the header that Postfix takes away."""
    lines = (ROOT / "examples" / "mail" / f"{name}.eml").read_bytes().splitlines()
    return b"".join(line + b"\r\n" for line in lines if not line.startswith(b"Return-Path:"))


SPAM, HAM = example("spam-lottery"), example("ham-meeting-notes")


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


def skip_without_programs() -> None:
    """Skips the test where there is no mail server to start."""
    missing = [program for program in PROGRAMS if not Path(program).exists()]
    if missing:
        pytest.skip(f"no mail server here (apt-packages.txt): {', '.join(missing)} is missing")
    if os.getuid() != 0:
        pytest.skip("Postfix must be started by root")


@contextmanager
def mail_server(others: Mapping[str, str] | None = None) -> Iterator[MailServer]:
    """Postfix and Dovecot, until the end of the block. `others` are milters besides Winnow's: each
    has a port of its own."""
    skip_without_programs()
    ours = (DEPLOY / "postfix" / "main.cf").read_text()
    patient = re.sub(r"timeout=\ds", "timeout=90s", ours.split("smtpd_milters = ")[1].strip())
    milters = {"patient": patient, **(others or {})}
    names = ("filtered", "unfiltered", "lmtp", "imap", "http", *milters)
    ports = {name: free_port() for name in names}
    folder = Path(tempfile.mkdtemp(prefix="winnow-mail-"))
    try:
        _write(folder, ports, ours, milters)
        _run("dovecot", "-c", folder / "dovecot.conf")
        try:
            _run("postfix", "-c", folder / "postfix", "start")
            try:
                yield MailServer(folder, ports)
            finally:
                _run("postfix", "-c", folder / "postfix", "stop")
        finally:
            _run("doveadm", "-c", folder / "dovecot.conf", "stop")
    finally:
        shutil.rmtree(folder)


def _write(folder: Path, ports: Mapping[str, int], ours: str, milters: Mapping[str, str]) -> None:
    """The configuration of both; the lines about Winnow are the ones that users are given."""
    folder.chmod(0o755)  # users of the servers' own must come through
    given = {"folder": folder, "domain": DOMAIN, **ports}
    services = "".join(
        f"127.0.0.1:{ports[name]} inet n - n - - smtpd -o {{ smtpd_milters = {milter} }}\n"
        for name, milter in milters.items()
    )
    for name in ("postfix", "spool", "data", "run", "mail"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", "postfix")
    shutil.chown(folder / "mail", "nobody", "nogroup")
    (folder / "postfix" / "main.cf").write_text(MAIN_CF.format(**given) + ours)
    (folder / "postfix" / "master.cf").write_text(MASTER_CF.format(**given) + services)
    _write_sieve(folder, DOVECOT_CONF.format(**given), ports["http"])
    socket_folder = folder / "spool" / "winnow"
    socket_folder.mkdir()
    shutil.chown(socket_folder, group="postfix")
    socket_folder.chmod(0o2750)  # as the systemd unit does it


def _write_sieve(folder: Path, conf: str, http: int) -> None:
    """Dovecot's configuration, and Winnow's files in their places; the filter is at `http`."""
    replaced = {
        "/etc/dovecot/sieve": str(folder / "sieve"),
        "/etc/winnow/token": str(folder / "token"),
        "groups = winnow": f"groups = {GROUP}",
        "127.0.0.1:9109": f"127.0.0.1:{http}",
    }
    (folder / "sieve").mkdir()
    (folder / "token").write_text(f"{TOKEN}\n")
    (folder / "token").chmod(0o640)
    shutil.chown(folder / "token", group=GROUP)
    for file in sorted((DEPLOY / "dovecot").iterdir()):
        text = file.read_text()
        for line, ours in replaced.items():
            text = text.replace(line, ours)
        if file.suffix == ".conf":
            conf += text
        else:
            (folder / "sieve" / file.name).write_text(text)
            (folder / "sieve" / file.name).chmod(file.stat().st_mode)
    (folder / "dovecot.conf").write_text(conf)
    for script in (folder / "sieve").glob("*.sieve"):
        _run("sievec", "-c", folder / "dovecot.conf", script)


def _run(*command: str | Path) -> None:
    with tempfile.TemporaryFile("w+") as said:  # a pipe would stay open in what is started
        done = subprocess.run(command, stdout=said, stderr=said, timeout=PATIENCE)
        said.seek(0)
        assert done.returncode == 0, f"{command}: {said.read()}"
