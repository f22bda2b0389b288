"""A hosted mailbox: Debian's Dovecot with IMAP over TLS on a free port, with private folders."""

from __future__ import annotations

import hmac
import json
import shutil
import smtplib
import ssl
import subprocess
import tempfile
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from imapclient import IMAPClient

from tests.conftest import free_port
from tests.mail.settings import skip_without

PROGRAMS = ("/usr/sbin/dovecot", "/usr/lib/dovecot/imap", "/usr/lib/dovecot/lmtp")
HOST = "127.0.0.1"
OLD = "127.0.0.2"  # the same server, without IDLE and MOVE
PASSWORD = "välidp4ss"
PATIENCE = 120.0

CONF = """
base_dir = {folder}/run
log_path = {folder}/dovecot.log
protocols = imap lmtp
listen = 127.0.0.1
auth_mechanisms = plain login xoauth2 oauthbearer
auth_failure_delay = 0
mail_max_userip_connections = 100
ssl = required
ssl_cert = <{folder}/server.pem
ssl_key = <{folder}/server.pem
mail_location = maildir:{folder}/mail/%u
first_valid_uid = 1
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={folder}/mail/home-%u allow_all_users=yes
}}
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {folder}/oauth2.conf
}}
passdb {{
  driver = static
  args = password={password}
}}
service imap-login {{
  inet_listener imap {{
    address = {host}, {old}
    port = {starttls}
  }}
  inet_listener imaps {{
    address = {host}, {old}
    port = {tls}
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = {host}
    port = {lmtp}
  }}
}}
local {old} {{
  protocol imap {{
    imap_capability = IMAP4rev1 UIDPLUS LITERAL+
  }}
}}
namespace inbox {{
  inbox = yes
  mailbox Spam {{
    auto = create
    special_use = \\Junk
  }}
}}
"""
OAUTH_CONF = """
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={folder}/keys/
username_attribute = sub
"""
JWT = {"alg": "HS256", "typ": "JWT"}
KEY = b"of the one who signs tokens"


@dataclass(frozen=True)
class ImapServer:
    """A running one; anybody may log in by PASSWORD."""

    folder: Path
    tls: int
    starttls: int
    lmtp: int

    @property
    def ca_file(self) -> str:
        """Of the CA that signed its certificate."""
        return str(self.folder / "ca.pem")

    @property
    def log(self) -> str:
        """What it has said."""
        return (self.folder / "dovecot.log").read_text("utf-8", "replace")

    def deliver(self, user: str, *mails: bytes) -> None:
        """Have mails delivered to a user."""
        with smtplib.LMTP(HOST, self.lmtp, timeout=PATIENCE) as lmtp:
            for mail in mails:
                lmtp.sendmail("sender@remote.test", [user], mail)

    @contextmanager
    def client(self, user: str) -> Iterator[IMAPClient]:
        """The user's own mail program."""
        context = ssl.create_default_context(cafile=self.ca_file)
        with IMAPClient(HOST, self.tls, ssl_context=context, timeout=PATIENCE) as client:
            client.plain_login(user, PASSWORD)
            yield client

    def mails(self, user: str) -> dict[bytes, tuple[str, tuple[bytes, ...]]]:
        """A user's mails by subject: in which mailbox each lies, and its flags."""
        found = {}
        with self.client(user) as client:
            for _, _, mailbox in client.list_folders():
                client.select_folder(mailbox, readonly=True)
                for each in client.fetch(client.search(), ["FLAGS", "ENVELOPE"]).values():
                    kept = tuple(flag for flag in each[b"FLAGS"] if flag != b"\\Recent")
                    assert each[b"ENVELOPE"].subject not in found, "it is there twice"
                    found[each[b"ENVELOPE"].subject] = (mailbox, kept)
        return found

    def settings(self, user: str, **more: object) -> dict[str, Any]:
        """`[imap]` for a user."""
        file = self.folder / f"{user}.password"
        file.write_text(f"{PASSWORD}\n")
        access = {"password_file": str(file), "ca_file": self.ca_file}
        return {"host": HOST, "port": self.tls, "user": user, **access, **more}

    def token(self, user: str, seconds: int) -> str:
        """An OAuth 2.0 access token (a JWT) that is good for so long."""
        now = int(time.time())
        claims = {"sub": user, "iat": now - 60, "exp": now + seconds}
        parts = [urlsafe_b64encode(json.dumps(part).encode()) for part in (JWT, claims)]
        signed = b".".join(part.rstrip(b"=") for part in parts)
        signature = urlsafe_b64encode(hmac.digest(KEY, signed, "sha256")).rstrip(b"=")
        return (signed + b"." + signature).decode()

    def admin(self, *arguments: Any) -> None:
        """Run a command of doveadm."""
        _run("doveadm", "-c", self.folder / "dovecot.conf", *map(str, arguments))

    def start(self) -> None:
        """Start it, as it was."""
        _run("dovecot", "-c", self.folder / "dovecot.conf")

    def stop(self) -> None:
        """Stop it: all connections end."""
        self.admin("stop")


@contextmanager
def imap_server() -> Iterator[ImapServer]:
    """A server until the end of the block."""
    skip_without(PROGRAMS)
    folder = Path(tempfile.mkdtemp(prefix="winnow-imap-"))
    server = ImapServer(folder, free_port(), free_port(), free_port())
    try:
        _write(server)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _write(server: ImapServer) -> None:
    folder = server.folder
    folder.chmod(0o755)  # the server's own users must come through
    for name in ("run", "mail"):
        (folder / name).mkdir()
    shutil.chown(folder / "mail", "nobody", "nogroup")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(server.ca_file)
    ca.issue_cert(HOST, OLD).private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    given = {"folder": folder, "host": HOST, "old": OLD, "password": PASSWORD}
    ports = {"tls": server.tls, "starttls": server.starttls, "lmtp": server.lmtp}
    (folder / "oauth2.conf").write_text(OAUTH_CONF.format(folder=folder))
    key = folder / "keys" / "default" / "HS256" / "default"
    key.parent.mkdir(parents=True)
    key.write_bytes(b64encode(KEY))
    (folder / "dovecot.conf").write_text(CONF.format(**given, **ports))


def _run(*command: str | Path) -> None:
    with tempfile.TemporaryFile("w+") as said:  # a pipe would stay open in what is started
        done = subprocess.run(command, stdout=said, stderr=said, timeout=PATIENCE)
        said.seek(0)
        assert done.returncode == 0, f"{command}: {said.read()}"
