"""Documents of feeds -> records that `format = "feed"` reads; and lists of feeds."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import feedparser
import pytest

from stream_app.codecs.feed import parse_feed
from stream_app.core.errors import ConfigError, FeedError
from stream_app.core.messages import ParseSpec
from stream_app.sources.feeds import reading
from stream_app.sources.feeds.opml import MAX_FEEDS, shown, subscriptions
from stream_app.sources.feeds.reading import read_feed
from tests.feed_server import rss

FEED = "http://gazette.example/rss"
SPEC = ParseSpec({}, ("title", "link", "feed", "feed_url", "published", "author", "category"))
RSS = b"""<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"
  xmlns:dc="http://purl.org/dc/elements/1.1/"><channel><title>Haverbridge Gazette</title>
<item><title>Ports &amp;amp; &lt;b&gt;piers&lt;/b&gt;</title><link>/ports</link>
  <guid isPermaLink="false">g1</guid><category>Trade</category><dc:creator>Ada Venn</dc:creator>
  <pubDate>Sat, 03 Aug 2024 11:55:00 +0200</pubDate><description>In short.</description>
  <content:encoded><![CDATA[<p>The whole story.</p>]]></content:encoded></item>
</channel></rss>"""
ATOM = b"""<feed xmlns="http://www.w3.org/2005/Atom"><title>Haverbridge Gazette</title>
<entry><title type="html">Ports &amp;amp; &lt;b&gt;piers&lt;/b&gt;</title><id>g1</id>
  <link rel="alternate" href="/ports"/><category term="Trade"/>
  <author><name>Ada Venn</name></author>
  <published>2024-08-03T11:55:00+02:00</published><summary>In short.</summary>
  <content type="html">&lt;p&gt;The whole story.&lt;/p&gt;</content></entry></feed>"""
JSON = json.dumps(
    {
        "version": "https://jsonfeed.org/version/1.1",
        "title": "Haverbridge Gazette",
        "items": [
            {
                "id": "g1",
                "url": "http://gazette.example/ports",
                "title": "Ports & piers",
                "content_html": "<p>The whole story.</p>",
                "date_published": "2024-08-03T11:55:00+02:00",
                "authors": [{"name": "Ada Venn"}],
                "tags": ["Trade"],
            }
        ],
    }
).encode()
WANTED = {
    "title": "Ports & piers",
    "link": "http://gazette.example/ports",
    "feed": "Haverbridge Gazette",
    "feed_url": FEED,
    "published": "2024-08-03T09:55:00+00:00",
    "author": "Ada Venn",
    "category": "Trade",
}


def read(document: bytes) -> list[tuple[str, bytes]]:
    return list(read_feed(document, FEED, FEED))


def broken(document: bytes) -> bytes:
    """The same with a fault that no XML parser lets through."""
    return document.replace(b"whole story", b"whole story &nbsp; & more")


@pytest.mark.parametrize(
    "document",
    [RSS, ATOM, JSON, RSS.replace(b"story", b"&story"), broken(ATOM)],
    ids=["rss", "atom", "json", "broken rss", "broken atom"],
)
def test_an_item_has_the_same_fields_whatever_its_feed_is(document: bytes):
    ((item_id, value),) = read(document)
    found = parse_feed(value, SPEC)
    assert item_id == found.message_id == "g1"
    assert dict(found.fields) == WANTED
    assert "whole" in found.body
    assert found.title == WANTED["title"]


def test_a_body_without_words_gives_way_to_the_summary():
    document = RSS.replace(b"The whole story.", b"<img src='x.png'>")
    assert parse_feed(read(document)[0][1], SPEC).body == "In short."


def test_items_without_guid_are_known_by_their_link_or_their_words():
    by_link = RSS.replace(b'<guid isPermaLink="false">g1</guid>', b"")
    assert read(by_link)[0][0] == "http://gazette.example/ports"
    by_words = by_link.replace(b"<link>/ports</link>", b"")
    changed = by_words.replace(b"In short", b"In brief")
    ids = [read(document)[0][0] for document in (by_words, by_words, changed)]
    assert ids[0] == ids[1] != ids[2]


def test_a_generator_that_gives_all_items_one_guid_loses_none():
    document = rss([("same", "one"), ("same", "two")]).replace(b"/news/same", b"", 1)
    assert [item_id for item_id, _ in read(document)] == [
        "same",
        "same http://gazette.example/news/same",
    ]
    assert len(read(rss([("same", "one"), ("same", "one")]))) == 1


@pytest.mark.parametrize("link", ["javascript:alert(1)", "file:///etc/passwd", "data:text/html,x"])
def test_no_link_is_passed_on_that_a_browser_should_not_open(link: str):
    value = read(RSS.replace(b"/ports", link.encode()))[0][1]
    assert "link" not in json.loads(value)


def test_a_guid_of_any_length_is_bounded():
    ((item_id, value),) = read(RSS.replace(b"g1", b"g" * 100_000))
    assert len(item_id) <= reading.MAX_ID_CHARS
    assert len(value) < 1000


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html><body>404</body></html>",
        b"\x89PNG\r\n",
        b"{}",
        b"null",
        b"/etc/passwd",
        b"http://127.0.0.1/",
    ],
)
def test_what_is_no_feed_is_refused(document: bytes):
    with pytest.raises(FeedError) as raised:
        read(document)
    assert raised.value.reason == "unreadable"


def test_a_feed_without_items_is_one():
    assert read(rss([])) == []


def test_entities_of_a_document_are_not_expanded():
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    document = f'<!DOCTYPE rss [<!ENTITY l0 "lol"><!ENTITY f SYSTEM "file:///etc/passwd">{laughs}]>'
    items = read(document.encode() + RSS.replace(b"In short.", b"&l9;&f;"))
    assert len(items) == 1
    assert b"root:" not in items[0][1]
    assert len(items[0][1]) < 1000


def test_many_items_are_read():
    assert len(read(rss([(str(n), f"Item {n}") for n in range(5_000)]))) == 5_000


class TestFeedparsersOwnFeeds:
    """feedparser's test feeds, from its source distribution: FEEDPARSER_TESTS names its folder."""

    KNOWN = frozenset({"rss_empty_document.xml"})

    @pytest.fixture
    def folder(self) -> Path:
        found = Path(os.environ.get("FEEDPARSER_TESTS", "/nowhere"))
        if not (found / "wellformed").is_dir():
            pytest.skip("FEEDPARSER_TESTS does not name the folder of feedparser's tests")
        return found

    @pytest.mark.parametrize("kind", ["wellformed", "illformed", "encoding", "entities"])
    def test_each_gives_the_items_that_feedparser_finds(self, folder: Path, kind: str):
        other, count = [], 0
        for file in sorted(each for each in (folder / kind).rglob("*") if each.is_file()):
            document = file.read_bytes()
            there = feedparser.parse(io.BytesIO(document))
            count += 1
            try:
                items = read(document)
            except FeedError:
                assert not there.entries, file
                continue
            for _, value in items:
                assert json.loads(value)["feed_url"] == FEED
            if len(items) != len(there.entries):
                other.append(file.name)
        assert count > 15
        # items that are the same twice in one document come once
        assert len(other) <= 4, other


class TestSubscriptions:
    def write(self, folder: Path, body: str) -> Path:
        file = folder / "feeds.opml"
        file.write_text(f"<opml version='2.0'><body>{body}</body></opml>")
        return file

    def test_feeds_of_folders_are_found_once(self, tmp_path: Path):
        outline = "<outline xmlUrl='{}'/>"
        a, b = "https://a.example/rss?x=1", "http://b.example/atom"
        nested = f"<outline text='News'>{outline.format(a)}{outline.format(b)}</outline>"
        file = self.write(tmp_path, nested + outline.format(b) + "<outline text='none'/>")
        assert subscriptions([file], [b, "http://c.example/"]) == [a, b, "http://c.example/"]

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ("<outline xmlUrl='file:///etc/passwd'/>", "not http"),
            ("<outline xmlUrl='http://x/" + "x" * 3000 + "'/>", "not http"),
            ("<outline>" * 5000 + "</outline>" * 5000, "not XML"),
            ("<outline/>" * 3, "there are no feeds"),
            ("<outline", "not XML"),
            (
                "".join(f"<outline xmlUrl='http://x/{n}'/>" for n in range(MAX_FEEDS + 1)),
                "more than one process",
            ),
        ],
    )
    def test_a_list_that_cannot_be_meant_is_refused(self, body: str, said: str, tmp_path: Path):
        with pytest.raises(ConfigError, match=said):
            subscriptions([self.write(tmp_path, body)], [])

    def test_a_list_of_hostile_size_is_refused(self, tmp_path: Path):
        file = self.write(tmp_path, " " * (17 * 2**20))
        with pytest.raises(ConfigError, match="larger than"):
            subscriptions([file], [])

    def test_entities_of_a_list_are_not_expanded(self, tmp_path: Path):
        file = tmp_path / "feeds.opml"
        file.write_text(
            '<!DOCTYPE opml [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
            '<opml><body><outline text="&x;" xmlUrl="http://a.example/"/></body></opml>'
        )
        with pytest.raises(ConfigError, match="not XML"):
            subscriptions([file], [])

    def test_other_files_are_refused(self, tmp_path: Path):
        other = tmp_path / "feed.xml"
        other.write_bytes(RSS)
        with pytest.raises(ConfigError, match="no OPML"):
            subscriptions([other], [])
        with pytest.raises(ConfigError, match="No such file"):
            subscriptions([tmp_path / "none"], [])

    def test_what_may_be_secret_in_an_address_is_not_shown(self):
        assert shown("https://ada:pw@a.example/rss?token=1#x") == "https://a.example/rss"
