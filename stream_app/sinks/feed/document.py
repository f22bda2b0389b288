"""A feed's items as Atom (RFC 4287) and JSON Feed 1.1."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lxml import etree
from lxml.builder import ElementMaker

from stream_app import __version__
from stream_app.sinks.feed.store import Item

_ATOM = ElementMaker(
    namespace="http://www.w3.org/2005/Atom", nsmap={None: "http://www.w3.org/2005/Atom"}
)
_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Feed:
    """What is served at one address."""

    title: str
    address: str
    hub: str  # of WebSub, or ''
    items: Sequence[Item]  # one or more

    @property
    def updated(self) -> float:
        """When its last item came."""
        return max(item.stored for item in self.items)


def atom(feed: Feed) -> bytes:
    """An Atom document. Text is escaped, and never HTML."""
    e = _ATOM
    hub = [e.link(rel="hub", href=_text(feed.hub))] if feed.hub else []
    root = e.feed(
        e.id(_text(feed.address)),
        e.title(_text(feed.title)),
        e.updated(_time(feed.updated)),
        e.author(e.name("Winnow")),
        e.generator("Winnow", version=__version__),
        e.link(rel="self", type="application/atom+xml", href=_text(feed.address)),
        *hub,
        *map(_entry, feed.items),
    )
    found: bytes = etree.tostring(root, encoding="utf-8", xml_declaration=True)
    return found


def json_feed(feed: Feed) -> bytes:
    """A JSON Feed."""
    hubs = {"hubs": [{"type": "WebSub", "url": feed.hub}]} if feed.hub else {}
    found = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": feed.title,
        "feed_url": feed.address,
        **hubs,
        "items": [
            {
                "id": f"urn:uuid:{item.key}",
                "title": item.title,
                **({"url": item.link} if item.link else {}),
                "content_text": _said(item),
                "date_published": _time(item.published),
                "date_modified": _time(item.classified),
                "tags": [item.label],
            }
            for item in feed.items
        ],
    }
    return json.dumps(found, ensure_ascii=True, indent=1).encode()


def _entry(item: Item) -> etree._Element:
    e = _ATOM
    link = [e.link(rel="alternate", href=_text(item.link))] if item.link else []
    return e.entry(
        e.id(f"urn:uuid:{item.key}"),
        e.title(_text(item.title)),
        *link,
        e.published(_time(item.published)),
        e.updated(_time(item.classified)),
        e.category(term=_text(item.label)),
        e.content(_text(_said(item)), type="text"),
    )


def _said(item: Item) -> str:
    return f"{item.label}, {item.confidence:.1%}"


def _text(text: str) -> str:
    """Without the characters that XML cannot hold at all."""
    return _NO_XML.sub("\ufffd", text)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
