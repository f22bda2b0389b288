"""What sources read in a scene: a file, news feeds, a mailbox; each holds numbered messages."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol

from stream_app.sources.feeds.checking import CHUNK_ITEMS
from stream_app.sources.imap.taking import GROUP
from stream_app.sources.ingested_files import BATCH_MESSAGES
from tests.feed_server import rss
from tests.integration.harness import Stage
from tests.mail.imap_server import ImapServer

FEEDS = 60
FEED_SECONDS = 0.2  # that each is slow to answer, so that they take a while together


class Inlet(Protocol):
    """Where a source reads."""

    name: str  # of the source
    format: str  # of its route
    repeats: int  # messages that a source which is killed may send again, by the docs

    def command(self, stage: Stage) -> Sequence[str]:
        """After `winnow ingest`; it may add to the configuration."""

    def put(self, numbers: Sequence[int]) -> None:
        """Have these messages come."""

    def number(self, value: bytes) -> int:
        """Which message a record is."""


class Lines:
    """A file that grows."""

    name, format, repeats = "files", "json", BATCH_MESSAGES

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "growing.jsonl"
        self._file.touch()

    def command(self, stage: Stage) -> Sequence[str]:
        stage.sections["files"] = {"state": str(self._folder / "files.db"), "http": "127.0.0.1:0"}
        return ("files", "--follow", "--route", "messages", str(self._file))

    def put(self, numbers: Sequence[int]) -> None:
        with self._file.open("a") as file:
            file.writelines(json.dumps({"text": f"Message {n}"}) + "\n" for n in numbers)

    def number(self, value: bytes) -> int:
        return int(json.loads(value)["text"].split()[1])


class Newspapers:
    """Feeds that all hold their items from the beginning, and are slow to answer."""

    name, format, repeats = "feeds", "feed", CHUNK_ITEMS

    def __init__(self, folder: Path, count: int, port: int) -> None:
        self._folder = folder
        self._urls = [f"http://127.0.0.1:{port}/{feed}" for feed in range(FEEDS)]
        self.documents = {
            f"/{feed}": rss([(str(n), f"Message {n}") for n in range(feed, count, FEEDS)])
            for feed in range(FEEDS)
        }

    def command(self, stage: Stage) -> Sequence[str]:
        stage.sections["feeds"] = {
            "state": str(self._folder / "feeds.db"),
            "http": "127.0.0.1:0",
            "allow_networks": ["127.0.0.0/8"],
        }
        return ("feeds", *self._urls)

    def put(self, numbers: Sequence[int]) -> None:
        """They are there."""

    def number(self, value: bytes) -> int:
        return int(json.loads(value)["id"])


@contextmanager
def newspapers(folder: Path, count: int) -> Iterator[Newspapers]:
    """Served until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(FEED_SECONDS)
            body = served.documents[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Not on the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Newspapers(folder, count, server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield served
        finally:
            server.shutdown()


class Inbox:
    """A user's mailbox to which mail is delivered."""

    name, format, repeats = "imap", "rfc822", GROUP

    def __init__(self, folder: Path, server: ImapServer, user: str) -> None:
        self._folder = folder
        self._server = server
        self._user = user

    def command(self, stage: Stage) -> Sequence[str]:
        more = {"state": str(self._folder / "imap.db"), "http": "127.0.0.1:0"}
        stage.sections["imap"] = self._server.settings(self._user, from_beginning=True, **more)
        return ("imap",)

    def put(self, numbers: Sequence[int]) -> None:
        mails = (f"Subject: Message {n}\r\nMessage-ID: <{n}@x>\r\n\r\nHello\r\n" for n in numbers)
        self._server.deliver(self._user, *(mail.encode() for mail in mails))

    def number(self, value: bytes) -> int:
        found = re.search(rb"^Subject: Message (\d+)", value, re.MULTILINE)
        assert found is not None
        return int(found[1])
