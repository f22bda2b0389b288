"""A receiver of webhooks that checks signatures, remembers, and answers as it is told."""

from __future__ import annotations

import base64
import hmac
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SECRET = b"a secret of at least 24 bytes"
Answer = tuple[int, Mapping[str, str]]


def secret_file(folder: Path, *secrets: bytes) -> str:
    """A file with secrets as `winnow sink webhook` reads them."""
    file = folder / "webhook.secret"
    lines = [f"whsec_{base64.b64encode(secret).decode()}\n" for secret in secrets or (SECRET,)]
    file.write_text("".join(lines))
    return str(file)


@dataclass
class Receiver:
    """What came, and what to answer: `answer` is asked with each label record."""

    answer: Callable[[dict[str, Any]], Answer] = lambda _: (204, {})
    port: int = 0
    taken: Counter[str] = field(default_factory=Counter)  # answered 2xx, by webhook-id
    labels: dict[str, str] = field(default_factory=dict)  # id of a record -> its label
    when: dict[str, float] = field(default_factory=dict)  # id of a record -> when it was taken
    asked: Counter[str] = field(default_factory=Counter)  # by id of a record
    forged: int = 0  # requests whose signature is not that of SECRET
    most: int = 0  # requests at once
    hang_up: Callable[[], None] = lambda: None  # and listen no more
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/labels"

    def take(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """One request."""
        label = json.loads(body)["data"]
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            self.asked[label["id"]] += 1
            self.forged += not signed(headers, body)
        found = self.answer(label)
        with self._lock:
            self._now -= 1
            if found[0] // 100 == 2:
                self.taken[headers["webhook-id"]] += 1
                self.labels[label["id"]] = label["label"]
                self.when.setdefault(label["id"], time.time())
        return found


def signed(headers: Mapping[str, str], body: bytes) -> bool:
    """As the standard says."""
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.digest(SECRET, text, "sha256")).decode()
    return f"v1,{digest}" in headers["webhook-signature"].split()


@contextmanager
def listening(receiver: Receiver) -> Iterator[Receiver]:
    """Listens for the length of the block; at its port again, if it had one."""
    clients: set[socket.socket] = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            clients.add(self.connection)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, headers = receiver.take(self.headers, body)
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        allow_reuse_address = True

        def handle_error(self, *_: object) -> None:
            """A client that hung up."""

    server = Server(("127.0.0.1", receiver.port), Handler)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)

    def hang_up() -> None:
        server.shutdown()
        server.server_close()
        for client in clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        thread.join()

    receiver.hang_up = hang_up
    thread.start()
    try:
        yield receiver
    finally:
        hang_up()
