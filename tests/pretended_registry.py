"""A registry that replies to whatever it is asked as a test says: slowly, without end, nonsense."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stream_app.model.registry import DIGEST_TAG
from tests.registries import NAME

Reply = Callable[[BaseHTTPRequestHandler], None]


class Pretender:
    """An HTTP server that replies to whatever a registry is asked."""

    def __init__(self) -> None:
        self.reply: Reply = silent
        self.over = threading.Event()
        pretender = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.server.over = pretender.over
                with suppress(OSError):  # whoever asked is gone
                    pretender.reply(self)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def pretender() -> Iterator[Pretender]:
    made = Pretender()
    yield made
    made.over.set()
    made.server.shutdown()
    made.server.server_close()


def silent(handler: BaseHTTPRequestHandler) -> None:
    handler.server.over.wait(240.0)


def begun(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    handler.wfile.write(b'{"model_version": {"name": "')


def trickling(handler: BaseHTTPRequestHandler) -> None:
    """Never silent for long, and never at an end."""
    begun(handler)
    while not handler.server.over.wait(0.1):
        handler.wfile.write(b"x")


def endless(handler: BaseHTTPRequestHandler) -> None:
    begun(handler)
    while not handler.server.over.wait(0.01):
        handler.wfile.write(b"x" * 2**20)


def saying(body: object, status: int = 200) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return reply


def version(**said: object) -> Reply:
    """A well-formed answer, but for what is `said`."""
    sound = {"name": NAME, "version": "1", "creation_timestamp": 1, "source": "/nowhere"}
    tags = [{"key": DIGEST_TAG, "value": "0" * 64}]
    return saying({"model_version": sound | {"tags": tags} | said})
