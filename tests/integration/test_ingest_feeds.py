"""News feeds to a topic: each item once, whatever feeds, servers and this process do."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import uuid
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

import aiohttp
import pytest

from stream_app.core.health import Health
from stream_app.core.messages import Record
from stream_app.core.metrics import Metrics
from stream_app.core.settings import KafkaSettings, TopicSettings
from stream_app.kafka.reading import read_topic
from stream_app.kafka.topics import create_topics
from stream_app.sources.delivery import delivering
from stream_app.sources.feeds import readers as reading
from stream_app.sources.feeds.checking import CHUNK_ITEMS, Checker
from stream_app.sources.feeds.fetching import Fetcher
from stream_app.sources.feeds.readers import Readers
from stream_app.sources.state import opened_state
from tests.conftest import free_port
from tests.feed_server import FeedServer, answer, feed_server, redirect, rss

NEWS = [(str(n), f"Ministers meet for the {n}. time") for n in range(5)]
CONFIG = """
[kafka]
bootstrap_servers = "{broker}"
[feeds]
state = "{folder}/feeds.db"
http = "127.0.0.1:{port}"
allow_networks = ["127.0.0.0/8"]
[[routes]]
name = "news"
format = "feed"
model = "builtin:news"
input_topic = "{topic}"
output_topic = "{topic}.labels"
"""
KILLED_BEFORE_IT_NOTES_THE_THIRD_CHUNK = """
import os, signal
from stream_app.__main__ import main
from stream_app.sources.state import State

record, chunks = State.record, []

def killed(state, place, stands, sent=()):
    chunks.extend([1] if sent else [])
    if len(chunks) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    record(state, place, stands, sent)

State.record = killed
main()
"""


@dataclass
class Newsroom:
    """A feed server, a topic, and a state; `checker` is one run of the program."""

    broker: str
    topic: str
    folder: Path
    server: FeedServer
    port: int
    metrics: Metrics

    @asynccontextmanager
    async def checker(self) -> AsyncIterator[Checker]:
        kafka = KafkaSettings(bootstrap_servers=self.broker)
        async with AsyncExitStack() as stack:
            state = stack.enter_context(opened_state(self.folder / "feeds.db"))
            fetcher = await stack.enter_async_context(Fetcher([ip_network("127.0.0.0/8")]))
            children = await stack.enter_async_context(Readers())
            delivery = await stack.enter_async_context(
                delivering("feeds", kafka, self.topic, self.metrics, Health())
            )
            yield Checker(fetcher, children, delivery, state, self.metrics)

    async def start(
        self, *arguments: str, program: tuple[str, ...] = ("-m", "stream_app")
    ) -> Process:
        """The program itself."""
        config = self.folder / "winnow.toml"
        config.write_text(
            CONFIG.format(broker=self.broker, topic=self.topic, folder=self.folder, port=self.port)
        )
        command = [*program, "ingest", "feeds", "--config", str(config), *arguments]
        return await asyncio.create_subprocess_exec(sys.executable, *command, stderr=PIPE)

    def records(self) -> list[Record]:
        return list(read_topic(KafkaSettings(bootstrap_servers=self.broker), self.topic))

    def ids(self) -> list[str]:
        return [json.loads(record.value or b"")["id"] for record in self.records()]

    def outcomes(self) -> dict[str, float]:
        samples = next(iter(self.metrics.feed_checks.collect())).samples
        return {s.labels["outcome"]: s.value for s in samples if s.name.endswith("_total")}


@pytest.fixture
async def room(tansu: str, tmp_path: Path) -> AsyncIterator[Newsroom]:
    topic = f"n{uuid.uuid4().hex[:10]}"
    kafka = KafkaSettings(bootstrap_servers=tansu)
    await asyncio.to_thread(create_topics, kafka, [topic], TopicSettings(partitions=2))
    async with feed_server() as server:
        server.documents["/feed"] = rss(NEWS)
        yield Newsroom(tansu, topic, tmp_path, server, free_port(), Metrics())


async def test_an_item_is_a_record_with_feed_and_guid_as_its_key(room: Newsroom):
    feed = room.server.url("/feed")
    async with room.checker() as checker:
        await checker.check(feed)
    first = next(r for r in room.records() if r.key == f"{feed} 0".encode())
    assert json.loads(first.value or b"") == {
        "id": "0",
        "title": "Ministers meet for the 0. time",
        "link": room.server.url("/news/0"),
        "content_html": "Ministers meet for the 0. time, it is said.",
        "feed": "Haverbridge Gazette",
        "feed_url": feed,
    }


async def test_each_item_is_sent_once_over_checks_and_restarts(room: Newsroom):
    feed, documents = room.server.url("/feed"), room.server.documents
    async with room.checker() as checker:
        await checker.check(feed)
        await checker.check(feed)
    async with room.checker() as checker:
        await checker.check(feed)  # not modified, after a restart
        documents["/feed"] = rss([*NEWS[2:], ("9", "Late header")])
        await checker.check(feed)
        documents["/feed"] = rss([("9", "Late header, corrected"), *NEWS])  # old ones, a change
        await checker.check(feed)
    assert sorted(room.ids()) == ["0", "1", "2", "3", "4", "9"]
    assert room.outcomes() == {"new": 2, "not_modified": 2, "unchanged": 1}
    assert room.server.statuses == [200, 304, 304, 200, 200]


async def test_a_document_that_is_sent_again_is_not_read_again(room: Newsroom):
    room.server.handlers["/feed"] = answer(body=rss(NEWS))  # knows no conditions
    async with room.checker() as checker:
        for _ in range(3):
            await checker.check(room.server.url("/feed"))
    assert room.outcomes() == {"new": 1, "unchanged": 2}
    assert len(room.ids()) == 5


async def test_a_feed_that_moves_stays_the_same_feed(room: Newsroom):
    feed, server = room.server.url("/feed"), room.server
    async with room.checker() as checker:
        await checker.check(feed)
        server.documents["/new"] = rss([*NEWS, ("9", "Late header")])
        server.handlers["/feed"] = redirect("/new")
        await checker.check(feed)
        await checker.check(feed)
        assert [request.path for request in server.asked] == ["/feed", "/feed", "/new", "/new"]
        del server.documents["/new"]  # it was a mistake
        del server.handlers["/feed"]
        await checker.check(feed)
        await checker.check(feed)
        assert server.asked[-1].path == "/feed"
    assert sorted(room.ids()) == ["0", "1", "2", "3", "4", "9"]


async def test_one_feed_that_is_broken_says_so_and_holds_up_no_other(
    room: Newsroom, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reading, "READ_SECONDS", 1)
    server = room.server
    server.documents["/slow"] = b"<rss><channel>" + b"<item><title>&x;<b></title>" * 200_000
    server.documents["/none"] = b"<html>not found</html>"
    feeds = [server.url(path) for path in ("/slow", "/none", "/absent", "/feed")]
    async with room.checker() as checker:
        stand = await asyncio.gather(*(checker.check(feed) for feed in feeds))
    assert [standing.failures for standing in stand] == [1, 1, 1, 0]
    assert room.outcomes() == {"too_large": 1, "unreadable": 1, "status": 1, "new": 1}
    assert len(room.ids()) == 5


async def test_a_child_that_dies_is_replaced(room: Newsroom, caplog: pytest.LogCaptureFixture):
    feed = room.server.url("/feed")
    async with room.checker() as checker:
        await checker.check(feed)
        for child in checker.readers._all:
            if child._process:
                os.kill(child._process.pid, signal.SIGKILL)
                await child._process.wait()
        room.server.documents["/feed"] = rss([*NEWS, ("9", "Late header")])
        for _ in range(3):  # two children
            await checker.check(feed)
    assert sorted(room.ids()) == ["0", "1", "2", "3", "4", "9"]


async def test_killed_in_mid_stream_nothing_is_missed_and_little_comes_twice(room: Newsroom):
    many = [(str(n), f"Item {n}") for n in range(4 * CHUNK_ITEMS)]
    room.server.documents["/feed"] = rss(many)
    feed = room.server.url("/feed")
    process = await room.start(feed, program=("-c", KILLED_BEFORE_IT_NOTES_THE_THIRD_CHUNK))
    assert await process.wait() == -signal.SIGKILL
    assert len(await asyncio.to_thread(room.ids)) == 3 * CHUNK_ITEMS
    process = await room.start("--once", feed)
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    times = Counter(await asyncio.to_thread(room.ids))
    assert set(times) == {guid for guid, _ in many}
    assert sum(times.values()) - len(many) == CHUNK_ITEMS


async def test_a_service_tells_how_it_is_and_stops_when_told(room: Newsroom):
    feeds = [room.server.url(path) for path in ("/feed", "/absent")]
    process = await room.start(*feeds)
    while len(await asyncio.to_thread(room.ids)) < 5 or 404 not in room.server.statuses:
        assert process.returncode is None
    async with aiohttp.ClientSession(f"http://127.0.0.1:{room.port}") as http:
        for path in ("/healthz", "/readyz"):
            async with http.get(path) as response:
                assert response.status == 200
        async with http.get("/metrics") as response:
            metrics = await response.text()
    assert 'winnow_feeds_checks_total{outcome="new"}' in metrics
    assert "winnow_feeds_overdue_seconds" in metrics
    process.terminate()
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert "/absent: the server answers 404; tried again later" in said.decode()
    assert "Ministers" not in said.decode()
