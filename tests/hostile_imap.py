"""An IMAP server that answers as it is told, over TLS or, at first, in the clear."""

from __future__ import annotations

import socket
import ssl
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from stream_app.core.settings import ImapSettings

Answer = bytes | Callable[[socket.socket], None]  # {tag} is the command's
MANNERS: Mapping[str, Answer] = {
    "": b"* OK hello\r\n",
    "CAPABILITY": b"* CAPABILITY IMAP4rev1 AUTH=PLAIN IDLE UIDPLUS\r\n{tag} OK done\r\n",
    "AUTHENTICATE": b"+ \r\n",
    "credentials": b"{tag} OK done\r\n",
    "LIST": b'* LIST () "/" INBOX\r\n{tag} OK done\r\n',
    "SELECT": b"* OK [UIDVALIDITY 7] \r\n* OK [UIDNEXT 3] \r\n{tag} OK [READ-WRITE]\r\n",
    "EXAMINE": b"* OK [UIDVALIDITY 7] \r\n* OK [UIDNEXT 3] \r\n{tag} OK [READ-ONLY]\r\n",
    "SEARCH": b"* SEARCH 1 2\r\n{tag} OK done\r\n",
}


@dataclass
class HostileServer:
    """A running one; it keeps what it was told."""

    port: int
    folder: Path
    heard: list[str] = field(default_factory=list)
    connections: int = 0

    def settings(self, secret: str = "secret", **more: Any) -> ImapSettings:
        """`[imap]` for it."""
        file = self.folder / "secret"
        file.write_text(secret)
        given = {"password_file": str(file)} | more
        ca = str(self.folder / "ca.pem")
        return ImapSettings(host="127.0.0.1", port=self.port, user="ann", ca_file=ca, **given)


@contextmanager
def hostile_server(
    folder: Path, answers: Mapping[str, Answer], tls: bool = True
) -> Iterator[HostileServer]:
    """It answers by `answers`, and where they have none as it should; other commands with OK."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = HostileServer(listener.getsockname()[1], folder)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    plain, _ = listener.accept()
                    server.connections += 1
                    with suppress(OSError):
                        talking = context.wrap_socket(plain, server_side=True) if tls else plain
                        with talking:
                            _talk(server, talking, {**MANNERS, **answers})

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def _talk(server: HostileServer, talking: socket.socket, answers: Mapping[str, Answer]) -> None:
    _say(talking, answers[""], b"")
    last = b""
    for line in talking.makefile("rb"):
        words = line.split()
        if words and len(words) == 1 and last:  # what a continuation asked for
            server.heard.append(b64decode(words[0]).decode())
            _say(talking, answers["credentials"], last)
            continue
        last, command = words[0], words[2 if words[1] == b"UID" else 1].decode()
        server.heard.append(line.strip().decode().partition(" ")[2])
        _say(talking, answers.get(command, b"{tag} OK done\r\n"), last)


def _say(talking: socket.socket, answer: Answer, tag: bytes) -> None:
    if callable(answer):
        answer(talking)
    else:
        talking.sendall(answer.replace(b"{tag}", tag))
