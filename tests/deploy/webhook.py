"""Where a team chat would be: an incoming webhook of Slack's kind."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer


@dataclass
class Webhook:
    """The titles of what came."""

    url: str
    _titles: list[str] = field(default_factory=list)
    _more: threading.Condition = field(default_factory=threading.Condition)

    def take(self, title: str) -> None:
        with self._more:
            self._titles.append(title)
            self._more.notify_all()

    def has_said(self, text: str, seconds: float) -> bool:
        """Whether this is in the title of a message, by then: they come in any order."""
        with self._more:
            return self._more.wait_for(lambda: any(text in each for each in self._titles), seconds)


@contextmanager
def webhook() -> Iterator[Webhook]:
    """One that listens."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.take(said["attachments"][0]["title"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    found = Webhook(f"http://127.0.0.1:{server.server_port}/services/T0/B0/hush")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
