"""Where a team chat would be: an incoming webhook of Slack's kind."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue


@dataclass
class Webhook:
    """What came is in `titles`, in order."""

    url: str
    titles: Queue[str] = field(default_factory=Queue)

    def until(self, text: str, seconds: float) -> str:
        """The next message with this text in its title. Raises queue.Empty without one."""
        while text not in (title := self.titles.get(timeout=seconds)):
            continue
        return title


@contextmanager
def webhook() -> Iterator[Webhook]:
    """One that listens."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.titles.put(said["attachments"][0]["title"])
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
