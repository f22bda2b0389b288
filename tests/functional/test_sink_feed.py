"""The feed sink: items looked up on a real broker, and served as a reader asks for them."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from lxml import etree

from stream_app.core.errors import ConfigError, SinkError
from stream_app.core.label_record import LabelRecord
from stream_app.core.settings import FeedSinkSettings, KafkaSettings, RouteSettings, TopicSettings
from stream_app.kafka.reading import read_topic
from stream_app.kafka.sending import sending
from stream_app.kafka.topics import create_topics
from stream_app.sinks.feed.effect import FeedItems
from stream_app.sinks.feed.http import FeedServer
from stream_app.sinks.feed.store import Store
from tests.labels import a_label

ATOM = {"a": "http://www.w3.org/2005/Atom"}
RSS = "<item><title>{}</title><link>{}</link><description>words</description></item>"
Fill = Callable[[Sequence[bytes]], list[LabelRecord]]


class News:
    """A route on a broker, its store, and the effect between them."""

    def __init__(self, broker: str, folder: Path, items: int = 50, kind: str = "feed") -> None:
        topic = f"news.{uuid.uuid4().hex[:8]}"
        self.route = RouteSettings(
            name="news", format=kind, model="m", input_topic=topic, output_topic=f"{topic}.labels"
        )
        self.kafka = KafkaSettings(bootstrap_servers=broker)
        create_topics(self.kafka, [topic], TopicSettings(partitions=1))
        self.store = Store(folder / "feed.db", items)
        self.effect = FeedItems(self.store, self.kafka, [self.route], items)

    def label(self, *values: bytes, **changes: Any) -> list[LabelRecord]:
        """Send items; their labels, all `sports` where nothing else is said."""
        topic = self.route.input_topic
        with sending(self.kafka, topic) as records:
            for value in values:
                records.send("an item", value)
            records.finish()
        found = list(read_topic(self.kafka, topic))[-len(values) :]
        how = {"label": "sports", "labels": ["sports"], "decision": "sports", **changes}
        return [
            a_label(
                record.offset,
                id=record.id,
                route="news",
                source_topic=topic,
                source_timestamp=record.timestamp,
                **how,
            )
            for record in found
        ]

    def titles(self, feed: str = "sports") -> list[str]:
        return [item.title for item in self.store.latest("news", feed)]


@pytest.fixture
def news(tansu: str, tmp_path: Path) -> News:
    return News(tansu, tmp_path)


def rss(title: str, link: str = "https://example.org/1") -> bytes:
    return RSS.format(title, link).encode()


class TestItems:
    def test_title_and_link_come_from_the_input(self, news: News):
        entry = (
            b'<entry xmlns="http://www.w3.org/2005/Atom"><title>An entry</title>'
            b'<link href="https://example.org/2"/><summary>words</summary></entry>'
        )
        item = json.dumps({"title": "Of JSON", "url": "https://example.org/3", "content": "w"})
        labels = news.label(rss("A  goal"), entry, item.encode())
        assert news.effect.write(labels) == 0
        found = {item.title: item.link for item in news.store.latest("news", "sports")}
        links = {f"https://example.org/{number}" for number in (1, 2, 3)}
        assert set(found) == {"A goal", "An entry", "Of JSON"}
        assert set(found.values()) == links

    @pytest.mark.parametrize(
        "link",
        [
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "data:text/html,hello",
            "//example.org/x",
            "https://",
            "http://[",
            "vbscript:x",
        ],
    )
    def test_a_link_that_could_act_is_left_out(self, news: News, link: str):
        news.effect.write(news.label(rss("A goal", link)))
        assert [item.link for item in news.store.latest("news", "sports")] == [""]

    def test_a_decision_has_its_feed_and_several_labels_have_theirs(self, news: News):
        news.effect.write(news.label(rss("one"), decision="unsure"))
        both = {"labels": ["sports", "money", "law"], "decisions": ["sports", "money"]}
        scores = {"sports": 0.9, "money": 0.8, "law": 0.6}
        news.effect.write(news.label(rss("two"), **both, scores=scores))
        news.effect.write(news.label(rss("none"), labels=[], decision="none"))
        assert [news.titles(feed) for feed in ("sports", "money", "law", "unsure", "none")] == [
            ["two"],
            ["two"],
            [],
            ["one"],
            ["none"],
        ]
        [item] = news.store.latest("news", "money")
        assert (item.label, item.confidence) == ("money", 0.8)

    def test_a_later_label_moves_an_item_and_an_earlier_one_does_not(self, news: News):
        [label] = news.label(rss("one"))
        later = {"classified_at": label.classified_at.replace(year=2027), "decision": "money"}
        moved = label.model_copy(update={**later, "label": "money", "labels": ["money"]})
        news.effect.write([label])
        news.effect.write([moved])
        news.effect.write([label])
        assert (news.titles(), news.titles("money")) == ([], ["one"])

    def test_the_newest_are_kept_over_a_restart(self, tansu: str, tmp_path: Path):
        news = News(tansu, tmp_path, items=3)
        labels = news.label(*(rss(f"item {number}") for number in range(8)))
        for label in labels:
            news.effect.write([label])
        news.effect.write(labels[:2])
        kept = Store(tmp_path / "feed.db", 3).latest("news", "sports")
        assert len(kept) == 3
        assert {item.title for item in kept} == set(news.titles())

    def test_what_is_gone_unreadable_or_elsewhere_has_no_item(self, news: News):
        good, broken = news.label(rss("one"), b"no item")
        source = good.source
        elsewhere = [
            good.model_copy(update={"source": source.model_copy(update=change), "id": f"x/0/{n}"})
            for n, change in enumerate(
                ({"topic": "secrets"}, {"offset": 99}, {"partition": 7}, {"timestamp": 5})
            )
        ]
        assert news.effect.write([good, broken, *elsewhere]) == 0
        assert news.titles() == ["one"]

    def test_without_a_broker_they_wait(self, news: News, tmp_path: Path):
        away = KafkaSettings(bootstrap_servers="127.0.0.1:1")
        effect = FeedItems(news.store, away, [news.route], 5)
        with pytest.raises(SinkError, match="the feeds cannot be filled"):
            effect.write(news.label(rss("one")))

    def test_a_file_that_cannot_be_used(self, tmp_path: Path):
        (tmp_path / "no.db").write_text("no database, whatever its name says " * 100)
        with pytest.raises(ConfigError, match="cannot be used: file is not a database"):
            Store(tmp_path / "no.db", 5)


@asynccontextmanager
async def reader(news: News, token: str = "", **settings: Any) -> AsyncIterator[ClientSession]:
    """A client of the feeds."""
    app = web.Application()
    app.router.add_routes(FeedServer(news.store, FeedSinkSettings(**settings), token).resources)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
            yield client
    finally:
        await runner.cleanup()


HOSTILE = '<![CDATA[<script>alert(1)</script> & "quotes" ]]>&#x1b;[2J'


class TestFeeds:
    async def test_atom_and_json_say_the_same_and_nothing_of_a_title_is_mark_up(self, news: News):
        news.effect.write(news.label(rss(HOSTILE), rss("two", "https://example.org/?a=1&amp;b=2")))
        async with reader(
            news, base_url="https://news.example.org", hub="https://hub.test/"
        ) as get:
            answer = await get.get("/feeds/news/sports.atom")
            body, atom = await answer.text(), etree.fromstring(await answer.read())
            found = await (await get.get("/feeds/news/sports.json")).json(content_type=None)
        assert answer.content_type == "application/atom+xml"
        assert "<script" not in body
        titles = atom.xpath("//a:entry/a:title/text()", namespaces=ATOM)
        assert titles == [item["title"] for item in found["items"]]
        assert atom.xpath("//a:entry/a:link/@href", namespaces=ATOM) == [
            item["url"] for item in found["items"]
        ]
        assert "https://example.org/?a=1&b=2" in {item["url"] for item in found["items"]}
        links = {link.get("rel"): link.get("href") for link in atom.findall("a:link", ATOM)}
        assert links == {
            "self": "https://news.example.org/feeds/news/sports.atom",
            "hub": "https://hub.test/",
        }
        assert found["hubs"] == [{"type": "WebSub", "url": "https://hub.test/"}]

    async def test_a_reader_that_has_it_gets_no_body(self, news: News):
        news.effect.write(news.label(rss("one")))
        async with reader(news) as get:
            first = await get.get("/feeds/news/sports.atom")
            tag = {"If-None-Match": first.headers["ETag"]}
            assert (await get.get("/feeds/news/sports.atom", headers=tag)).status == 304
            news.effect.write(news.label(rss("two")))
            second = await get.get("/feeds/news/sports.atom", headers=tag)
            assert second.status == 200
            late = {"If-Modified-Since": formatdate(4e9, usegmt=True)}
            early = {"If-Modified-Since": formatdate(0, usegmt=True)}
            assert (await get.get("/feeds/news/sports.json", headers=late)).status == 304
            assert (await get.get("/feeds/news/sports.json", headers=early)).status == 200

    async def test_they_are_listed_and_others_are_not_there(self, news: News):
        news.effect.write(news.label(rss("one"), label="a b", labels=["a b"], decision="a b"))
        async with reader(news) as get:
            lines = (await (await get.get("/feeds/")).text()).split("\n")
            assert lines[0].endswith("/feeds/news/a%20b.atom")
            assert (await get.get(lines[0])).status == 200
            for path in ("news/sports.atom", "other/x.json", "news/sports.rss"):
                assert (await get.get(f"/feeds/{path}")).status == 404

    async def test_with_a_token_it_is_needed(self, news: News):
        news.effect.write(news.label(rss("one")))
        basic = base64.b64encode(b"anyone:open").decode()
        async with reader(news, token="open") as get:
            for said, status in {
                "": 401,
                "Bearer open": 200,
                "Bearer shut": 401,
                f"Basic {basic}": 200,
                "Basic b3Blbg==": 401,
                "Basic ###": 401,
                "Basic é": 401,
            }.items():
                answer = await get.get("/feeds/news/sports.atom", headers={"Authorization": said})
                assert answer.status == status, said
            assert (await get.get("/feeds/")).headers["WWW-Authenticate"].startswith("Basic")
