"""A feed's document -> the records of its items, as JSON objects that `format = "feed"` reads.

fastfeedparser reads what is well-formed, feedparser what is broken, at sixty times the price. Both
are given bytes only: either would fetch what looks like an address, or open what looks like a file.
"""

from __future__ import annotations

import io
import json
import re
from calendar import timegm
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import fastfeedparser
import feedparser
from lxml import etree
from yarl import URL

from stream_app.codecs.feed import without_html
from stream_app.codecs.html import Allowance
from stream_app.core.errors import FeedError
from stream_app.sources.feeds.opml import is_address

MAX_ITEMS = 200_000
MAX_NAME_CHARS = 300  # of a feed, an author, a category
MAX_TITLE_CHARS = 2_000
MAX_ID_CHARS = 500
_PLAIN = {"text", "text/plain", "plain"}
_WORDS = re.compile(r"text|html|xml")

Entry = Mapping[str, Any]
Read = tuple[str, bytes]  # an item's id, unique in its document, and its record


def read_feed(document: bytes, url: str, feed: str) -> Iterator[Read]:
    """The items, as they stand in the document. `url` is where it was, `feed` where it is known to
    be. Raises FeedError (`unreadable`) for what is no feed."""
    parsed = _parsed(document)
    source = {"feed": _name(parsed.get("feed", {}).get("title")), "feed_url": feed}
    seen: dict[str, set[str]] = {}
    for entry in parsed["entries"][:MAX_ITEMS]:
        item = _item(entry, url)
        links = seen.setdefault(item["id"], set())
        known = item.get("link") or item.get("title", "")
        if known in links:
            continue  # the same twice in one document
        # a generator that numbers nothing gives all items one id
        item_id = f"{item['id']} {known}" if links else item["id"]
        links.add(known)
        yield item_id, json.dumps(item | source, ensure_ascii=False).encode("utf-8", "replace")


def _parsed(document: bytes) -> Entry:
    if _is_sound(document):
        try:
            found = fastfeedparser.parse(document, include_media=False, include_enclosures=False)
        except Exception:  # feedparser may know better
            found = {"entries": []}
        if found["entries"]:
            return dict(found)
    slow = feedparser.parse(io.BytesIO(document), sanitize_html=False, resolve_relative_uris=False)
    if not slow.entries and not slow.get("version"):
        raise FeedError("unreadable", "this is neither RSS, Atom nor JSON Feed")
    return dict(slow)


def _is_sound(document: bytes) -> bool:
    """Whether it is JSON, or XML without a fault."""
    if document.lstrip(b" \t\r\n\xef\xbb\xbf").startswith(b"{"):
        return True
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        etree.fromstring(document, parser)
    except (etree.XMLSyntaxError, ValueError):
        return False
    return True


def _item(entry: Entry, url: str) -> dict[str, str]:
    """An entry of either parser as a record. Without id and link its words are what it is known
    by."""
    link = _link(entry.get("link"), url)
    title = without_html(Allowance(), _text(entry.get("title")))
    found = {
        "title": " ".join(title.split())[:MAX_TITLE_CHARS],
        "link": link,
        "published": _time(entry),
        "author": _name(entry.get("author")),
        "category": _category(entry),
        **_body(entry),
    }
    known = _text(entry.get("id"))
    if not known or known == _text(entry.get("link")):  # one parser fills it in, the other does not
        known = link or known
    if not known:
        known = sha256(json.dumps(found).encode()).hexdigest()
    if len(known) > MAX_ID_CHARS:
        known = sha256(known.encode("utf-8", "replace")).hexdigest()
    return {"id": known, **{name: value for name, value in found.items() if value}}


def _body(entry: Entry) -> dict[str, str]:
    """The fullest text, and the summary for where that has no words."""
    contents = [each for each in entry.get("content") or () if _WORDS.search(_text(each["type"]))]
    fullest = max(contents, key=lambda each: len(_text(each["value"])), default=None)
    summary = _text(entry.get("summary") or entry.get("description"))
    if fullest is None or not _text(fullest["value"]):
        return {"summary": summary}
    text = _text(fullest["value"])
    name = "content_text" if _text(fullest["type"]) in _PLAIN else "content_html"
    return {name: text, "summary": "" if summary == text else summary}


def _link(found: Any, url: str) -> str:
    """An absolute address; '' for what no browser should open."""
    try:
        link = str(URL(url).join(URL(_text(found).strip()))) if found else ""
    except ValueError:
        return ""
    return link if is_address(link) else ""


def _time(entry: Entry) -> str:
    """When it was published, else updated, as ISO 8601 in UTC; '' where nobody knows."""
    for name in ("published", "updated"):
        when = entry.get(f"{name}_parsed")  # feedparser's, in UTC
        if when:
            return datetime.fromtimestamp(timegm(when), UTC).isoformat()
        if f"{name}_parsed" not in entry and entry.get(name):
            return _text(entry[name])[:40]  # fastfeedparser's is such already
    return ""


def _category(entry: Entry) -> str:
    return next((name for tag in entry.get("tags") or () if (name := _name(tag.get("term")))), "")


def _name(found: Any) -> str:
    return " ".join(_text(found)[: 4 * MAX_NAME_CHARS].split())[:MAX_NAME_CHARS]


def _text(found: Any) -> str:
    return "" if found is None else str(found)
