"""The names of services, as Docker's own DNS has them: of those that run, and nothing else."""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path
from types import TracebackType

ADDRESS = "127.0.0.1"  # of every service: they share a network
HEADER, NO_SUCH_NAME, ANSWERED = 12, 0x8183, 0x8180
A_RECORD, IN_CLASS, SECONDS_VALID = 1, 1, 1
NAME_OF_THE_QUESTION = 0xC00C


class Names:
    """Answers queries at port 53; `files` make programs ask there."""

    def __init__(self, folder: Path) -> None:
        self.known: set[str] = set()
        self.files = (folder / "resolv.conf", folder / "nsswitch.conf", folder / "hosts")
        for file, text in zip(
            self.files,
            (f"nameserver {ADDRESS}\n", "hosts: files dns\n", f"{ADDRESS} localhost\n"),
            strict=True,
        ):
            file.write_text(text)

    def __enter__(self) -> Names:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((ADDRESS, 53))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.sendto(b"", (ADDRESS, 53))  # the last query
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(4096)
            if not query:
                return
            self._socket.sendto(self.answer(query), client)

    def answer(self, query: bytes) -> bytes:
        """The reply to a query (RFC 1035, 4.1)."""
        labels, at = [], HEADER
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        (kind,) = struct.unpack("!H", query[at + 1 : at + 3])
        known = ".".join(labels) in self.known
        given = known and kind == A_RECORD
        head = struct.pack("!HHHHH", ANSWERED if known else NO_SUCH_NAME, 1, given, 0, 0)
        reply = query[:2] + head + query[HEADER : at + 5]
        if given:
            about = (NAME_OF_THE_QUESTION, A_RECORD, IN_CLASS, SECONDS_VALID, 4)
            reply += struct.pack("!HHHIH", *about) + socket.inet_aton(ADDRESS)
        return reply
