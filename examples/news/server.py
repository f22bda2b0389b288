"""Three newspapers with invented news, as RSS, Atom and JSON Feed: `python server.py`.

A story a minute is added. Requests are answered as good servers do: with an ETag, and 304 to who
has it already.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.sax.saxutils import escape

HOST, PORT = "127.0.0.1", 8089
OLD_STORIES = 40
SECONDS = 60  # between two stories
NAMES = ("Venn", "Okafor", "Lindqvist", "Amadi", "Strand", "Brandt", "Moreau", "Tanaka", "Ruiz")
PLACES = ("Haverbridge", "Port Ellis", "Norvik", "Lower Venn", "Saint Orla", "Kestrel Bay")
STORIES = json.loads(Path(__file__).with_name("stories.json").read_text(encoding="utf-8"))
SECTIONS = {
    "/gazette.rss": ("Haverbridge Gazette", ("sports", "world")),
    "/wire.atom": ("Norvik Wire", ("business", "world")),
    "/notes.json": ("Lumera Notes", ("sci_tech", "business")),
}
STARTED = time.time()


@dataclass(frozen=True)
class Story:
    """A piece of news."""

    guid: str
    title: str
    text: str
    when: datetime
    link: str


def stories(path: str, sections: tuple[str, ...]) -> Iterator[Story]:
    """Those of a newspaper so far, the newest first."""
    count = OLD_STORIES + int((time.time() - STARTED) / SECONDS)
    for number in reversed(range(count)):
        section = STORIES[sections[number % len(sections)]]
        story = section[number // len(sections) % len(section)]
        words = {"name": NAMES[number % 9], "place": PLACES[(number + number // 6) % 6]}
        title, text = (story[part].format(**words) for part in ("title", "text"))
        when = datetime.fromtimestamp(STARTED - (OLD_STORIES - number) * SECONDS, UTC)
        guid = f"urn:news:{path.strip('/')}:{int(STARTED)}:{number}"
        yield Story(guid, title, text, when, f"http://{HOST}:{PORT}/stories/{number}")


def as_rss(name: str, found: Iterator[Story]) -> str:
    """RSS 2.0."""
    items = "".join(
        f"<item><guid isPermaLink='false'>{each.guid}</guid><title>{escape(each.title)}</title>"
        f"<link>{each.link}</link><pubDate>{format_datetime(each.when)}</pubDate>"
        f"<description>{escape(each.text)}</description></item>"
        for each in found
    )
    return f"<rss version='2.0'><channel><title>{name}</title>{items}</channel></rss>"


def as_atom(name: str, found: Iterator[Story]) -> str:
    """Atom 1.0."""
    entries = "".join(
        f"<entry><id>{each.guid}</id><title>{escape(each.title)}</title><link href='{each.link}'/>"
        f"<updated>{each.when.isoformat()}</updated>"
        f"<content type='html'>{escape(f'<p>{escape(each.text)}</p>')}</content></entry>"
        for each in found
    )
    return f"<feed xmlns='http://www.w3.org/2005/Atom'><title>{name}</title>{entries}</feed>"


def as_json(name: str, found: Iterator[Story]) -> str:
    """JSON Feed 1.1."""
    items = [
        {
            "id": each.guid,
            "title": each.title,
            "url": each.link,
            "content_text": each.text,
            "date_published": each.when.isoformat(),
        }
        for each in found
    ]
    return json.dumps(
        {"version": "https://jsonfeed.org/version/1.1", "title": name, "items": items}
    )


WRITERS = {"rss": as_rss, "atom": as_atom, "json": as_json}


class Handler(BaseHTTPRequestHandler):
    """Answers for the newspapers."""

    def do_GET(self) -> None:
        """A feed, or that it has not changed."""
        if self.path not in SECTIONS:
            self.send_error(404)
            return
        name, sections = SECTIONS[self.path]
        write = WRITERS[self.path.rpartition(".")[2]]
        body = write(name, stories(self.path, sections)).encode()
        etag = f'"{sha256(body).hexdigest()[:16]}"'
        known = self.headers.get("If-None-Match") == etag
        self.send_response(304 if known else 200)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", "0" if known else str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if known else body)


if __name__ == "__main__":
    print(f"newspapers at http://{HOST}:{PORT}: {' '.join(SECTIONS)}")  # noqa: T201
    ThreadingHTTPServer((HOST, PORT), Handler).serve_forever()
