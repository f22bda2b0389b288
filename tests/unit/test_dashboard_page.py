"""The dashboard over HTTP: who gets data, which headers an answer has, events and missed ones."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import ClientSession, web
from kafka import TopicPartition

from stream_app.core.errors import BrokerError, ConfigError
from stream_app.core.health import Health
from stream_app.core.messages import Partition
from stream_app.core.settings import Settings
from stream_app.web.dashboard import api as api_module
from stream_app.web.dashboard import follow, process
from stream_app.web.dashboard import live as live_module
from stream_app.web.dashboard.api import Api, Sources
from stream_app.web.dashboard.backlog import Backlog
from stream_app.web.dashboard.follow import Follower
from stream_app.web.dashboard.history import History
from stream_app.web.dashboard.live import Live
from stream_app.web.dashboard.page import page_files
from stream_app.web.dashboard.process import run_dashboard
from stream_app.web.dashboard.views import Views
from stream_app.web.dashboard.workers import Workers

ROUTE = {"name": "reviews", "format": "json", "model": "builtin:reviews"}
ROUTES = [ROUTE | {"input_topic": "r", "output_topic": "rl"}]
DATA = ("overview", "route?route=reviews", "by?route=reviews&by=product", "events", "text")
TOKEN = {"Authorization": "Bearer secret"}


def line(number: int, route: str = "reviews") -> tuple[int, dict[str, Any]]:
    told = {"id": f"r/0/{number}", "route": route, "choices": ["positive", "negative"]}
    return number, told | {"fields": {"product": "kettle"}, "several": False}


@asynccontextmanager
async def serving(
    folder: Path, token: str = "", show_text: bool = False
) -> AsyncIterator[tuple[ClientSession, Live]]:
    """A client of a dashboard that no topic feeds, and where its labels are told."""
    settings, file = Settings(routes=ROUTES), folder / "history.db"
    live = Live([], dict)
    with closing(History(file)), closing(Views(file)) as views:
        backlog = Backlog(settings.kafka, settings.routes, Health())
        sources = Sources(settings, views, live, backlog, Workers(()))
        app = web.Application()
        app.router.add_routes([*page_files(), *Api(sources, token, show_text).resources])
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        try:
            async with ClientSession(f"http://{host}:{port}") as client:
                yield client, live
        finally:
            await runner.cleanup()


@pytest.mark.parametrize("path", DATA)
async def test_with_a_token_no_data_is_given_without_it(tmp_path: Path, path: str):
    async with serving(tmp_path, "secret", show_text=True) as (client, _):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic secret"}):
            async with client.get(f"/api/{path}", headers=headers) as answer:
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"] == "Bearer"
        async with client.get(f"/api/{path}", headers=TOKEN) as answer:
            assert answer.status in (200, 404)  # no route, no text


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example"]
)
async def test_without_a_token_no_other_name_leads_to_the_data(tmp_path: Path, host: str):
    """DNS rebinding: a page of that name would be of the same origin."""
    async with serving(tmp_path) as (client, _):
        async with client.get("/api/overview", headers={"Host": host}) as answer:
            assert answer.status == 403
        async with client.get("/api/overview", headers={"Host": "localhost:9180"}) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("path", ["/", "/static/page.js", "/api/overview", "/api/overview?range=x"])
async def test_every_answer_forbids_what_the_page_does_not_need(tmp_path: Path, path: str):
    async with serving(tmp_path) as (client, _), client.get(path) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Set-Cookie" not in answer.headers


async def test_the_page_has_nothing_inline(tmp_path: Path):
    async with serving(tmp_path) as (client, _), client.get("/") as answer:
        page = await answer.text()
    assert "<style" not in page
    assert " style=" not in page
    assert all("src=" in part.split(">")[0] for part in page.split("<script")[1:])
    assert "http:" not in page
    assert "https:" not in page


@pytest.mark.parametrize("path", ["/static/..%2fapi.py", "/static/nothing.js", "/static/"])
async def test_only_the_pages_own_files_are_served(tmp_path: Path, path: str):
    async with serving(tmp_path) as (client, _), client.get(path) as answer:
        assert answer.status == 404


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("route", 404, "there is no route ''"),
        ("route?route=nope", 404, "'nope'"),
        ("by?route=reviews&range=99y", 400, "15m, 1h, 6h, 24h, 7d, 30d"),
        ("text?route=reviews&id=r/0/1", 403, "--show-text"),
    ],
)
async def test_a_wrong_question_is_told_why(tmp_path: Path, path: str, status: int, said: str):
    async with serving(tmp_path) as (client, _), client.get(f"/api/{path}") as answer:
        assert answer.status == status
        assert said in (await answer.json())["error"]


@pytest.mark.parametrize("label_id", ["", "r/0", "other/0/1", "r/0/x", "r/0/1/2", "../r/0/1"])
async def test_only_texts_of_the_routes_own_input_are_read(tmp_path: Path, label_id: str):
    async with serving(tmp_path, "secret", show_text=True) as (client, _):
        asked = {"route": "reviews", "id": label_id}
        async with client.get("/api/text", params=asked, headers=TOKEN) as answer:
            assert answer.status == 404


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "route, id and label"),
        (b'{"route": "reviews", "id": "r/0/1"}', "route, id and label"),
        (b'{"route": "reviews", "id": "r/0/1", "label": "no such label"}', "no such label"),
        (b'{"route": "reviews", "id": "somewhere else", "label": "negative"}', "no label"),
        (b'{"route": "reviews", "id": "r/0/1", "label": "x", "more": 1}', "route, id and label"),
        (b'{"route": "reviews", "id": "r/0/1", "labels": ["no such label"]}', "no such label"),
        (b'{"route": "reviews", "id": "r/0/1", "labels": []}', "gives each text one label"),
        (b'{"route": "reviews", "id": "r/0/1", "label": "a", "labels": []}', "or labels"),
        (b'{"route": "reviews", "id": "r/0/1", "labels": ["a", "a"]}', "or labels"),
    ],
)
async def test_a_correction_that_makes_no_sense_is_refused(tmp_path: Path, body: bytes, said: str):
    async with serving(tmp_path, "secret", show_text=True) as (client, live):
        live.tell([line(1)])
        async with client.post("/api/correction", data=body, headers=TOKEN) as answer:
            assert answer.status == 400
            assert said in (await answer.json())["error"]


async def test_a_broker_that_fails_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fails(*_: object) -> None:
        raise BrokerError("the broker is away")

    monkeypatch.setattr(api_module, "text_of", fails)
    async with serving(tmp_path, "secret", show_text=True) as (client, _):
        asked = {"route": "reviews", "id": "r/0/1"}
        async with client.get("/api/text", params=asked, headers=TOKEN) as answer:
            assert answer.status == 503
            assert (await answer.json())["error"] == "the broker is away"


async def events(
    client: ClientSession, last: str | None, wanted: int, begun: asyncio.Event | None = None
) -> list[str]:
    """The ids of the first labels that come, and the last event's own. `begun` is set once the
    stream is there."""
    headers = {} if last is None else {"Last-Event-ID": last}
    found: list[str] = []
    number = ""
    async with client.get("/api/events", headers=headers) as answer:
        assert answer.content_type == "text/event-stream"
        while len(found) < wanted:
            told = (await answer.content.readline()).decode()
            if told.startswith("event: status") and begun is not None:
                begun.set()
            if told.startswith("id: "):
                number = told[4:].strip()
            if told.startswith("data: ["):
                found += [label["id"] for label in json.loads(told[6:])]
    return [*found, number]


async def test_a_viewer_who_comes_back_gets_what_it_missed(tmp_path: Path):
    async with serving(tmp_path) as (client, live):
        live.tell([line(1), line(2)])
        live.tell([line(3)])
        assert await events(client, "1", 2) == ["r/0/2", "r/0/3", "3"]


@pytest.mark.parametrize("last", [None, "999", "x"], ids=["new", "of a lost history", "no number"])
async def test_a_viewer_who_has_seen_nothing_gets_what_comes(tmp_path: Path, last: str | None):
    async with serving(tmp_path) as (client, live):
        live.tell([line(1)])
        begun = asyncio.Event()
        viewer = asyncio.create_task(events(client, last, 1, begun))
        await begun.wait()
        live.tell([line(2)])
        assert await viewer == ["r/0/2", "2"]


async def test_a_hundred_viewers_get_every_label(tmp_path: Path):
    async with serving(tmp_path) as (client, live):
        viewers = [asyncio.create_task(events(client, "0", 50)) for _ in range(100)]
        for number in range(1, 51):
            live.tell([line(number)])
            await asyncio.sleep(0)
        expected = [f"r/0/{number}" for number in range(1, 51)]
        assert all(got[:-1] == expected for got in await asyncio.gather(*viewers))


async def test_a_silent_stream_says_that_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live_module, "PATIENCE_SECONDS", 0.01)
    async with serving(tmp_path) as (client, _), client.get("/api/events") as answer:
        await answer.content.readuntil(b"\n\n")  # the status
        assert await answer.content.readuntil(b"\n\n") == b": still here\n\n"


def test_only_the_loopback_needs_no_token(tmp_path: Path):
    for listen, show_text in (("0.0.0.0:9180", False), ("127.0.0.1:9180", True)):
        given = {"listen": listen, "history": tmp_path / "h.db"}
        settings = Settings(routes=ROUTES, dashboard=given)
        with pytest.raises(ConfigError, match="token_file"):
            asyncio.run(run_dashboard(settings, show_text))


class Failing:
    """A reader whose thread fails."""

    def run(self) -> None:
        raise ConfigError("the password file is gone")

    def stop(self) -> None:
        """It has stopped already."""


async def test_a_reader_that_fails_ends_the_process_with_its_reason():
    stop = asyncio.Event()
    with pytest.raises(ConfigError, match="the password file is gone"):
        async with process._beside(Failing(), stop):
            await stop.wait()


def test_a_history_that_cannot_be_written_is_said_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
):
    settings, health = Settings(routes=ROUTES), Health()
    follower = Follower(settings.kafka, settings.routes, None, health, lambda _: None)  # type: ignore[arg-type]
    tries: list[str] = []

    def full(*_: object) -> None:
        tries.append(health.not_ready()["topics"])
        if len(tries) == 2:
            follower.stop()
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(follow, "require_topics", full)
    monkeypatch.setattr(follow, "RETRY_SECONDS", 0)
    follower.run()
    assert "disk is full" in tries[1]


def test_labels_that_expired_before_they_were_counted_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    topic = TopicPartition("rl", 0)
    at: dict[TopicPartition, int] = {}
    consumer = SimpleNamespace(
        partitions_for_topic=lambda name: {0} if name == "rl" else set(),
        assignment=set,
        assign=lambda partitions: None,
        beginning_offsets=lambda partitions: dict.fromkeys(partitions, 7),
        seek=at.__setitem__,
    )
    monkeypatch.setattr(follow, "topic_ids", lambda kafka: {"rl": "id"})
    settings = Settings(routes=ROUTES)
    with closing(History(tmp_path / "history.db")) as history:
        history.add([], {Partition("rl id", 0): 3}, 0)
        how = settings.kafka, settings.routes, history, Health(), lambda _: None
        Follower(*how)._take_all(consumer)
    assert at == {topic: 7}
    assert "offsets 3 to 6 of topic rl, partition 0, were deleted" in caplog.text
