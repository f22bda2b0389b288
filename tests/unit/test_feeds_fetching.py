"""A feed over HTTP: conditions, redirects, limits, and who may be asked."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_network

import brotli
import pytest

from stream_app.core.errors import FeedError
from stream_app.sources.feeds import fetching
from stream_app.sources.feeds.fetching import Fetched, Fetcher
from stream_app.sources.feeds.standing import MOST_SECONDS
from tests.feed_server import FeedServer, answer, feed_server, never, redirect, rss

LOOPBACK = (ip_network("127.0.0.0/8"),)
DOCUMENT = rss([("1", "Late header sends Haverbridge top")])


@pytest.fixture
async def server() -> AsyncIterator[FeedServer]:
    async with feed_server() as server:
        server.documents["/feed"] = DOCUMENT
        yield server


async def fetch(server: FeedServer, path: str, *known: str) -> Fetched | None:
    async with Fetcher(LOOPBACK) as fetcher:
        return await fetcher.fetch(server.url(path), *(*known, "", "")[:2])


async def refused(server: FeedServer, path: str) -> FeedError:
    with pytest.raises(FeedError) as raised:
        await fetch(server, path)
    return raised.value


async def test_a_document_comes_with_its_conditions(server: FeedServer):
    found = await fetch(server, "/feed")
    assert found is not None
    assert (found.body, found.url, found.moved) == (DOCUMENT, server.url("/feed"), "")
    assert await fetch(server, "/feed", found.etag) is None
    assert server.statuses == [200, 304]


async def test_a_date_is_a_condition_too(server: FeedServer):
    when = "Sun, 29 Nov 2026 15:00:00 GMT"
    server.handlers["/dated"] = answer(body=DOCUMENT, Last_Modified=when)
    found = await fetch(server, "/dated")
    assert found is not None
    await fetch(server, "/dated", "", found.modified)
    assert [r.headers.get("If-Modified-Since") for r in server.asked] == [None, when]


@pytest.mark.parametrize(("name", "pack"), [("gzip", gzip.compress), ("br", brotli.compress)])
async def test_compressed_documents_are_unpacked(server: FeedServer, name: str, pack):
    server.handlers["/packed"] = answer(body=pack(DOCUMENT), Content_Encoding=name)
    found = await fetch(server, "/packed")
    assert found is not None
    assert found.body == DOCUMENT


@pytest.mark.parametrize(("name", "pack"), [("gzip", gzip.compress), ("br", brotli.compress)])
async def test_what_unpacks_beyond_the_limit_is_left(server: FeedServer, name: str, pack):
    bomb = pack(bytes(fetching.MAX_BODY_BYTES + 1))
    assert len(bomb) < 100_000
    server.handlers["/bomb"] = answer(body=bomb, Content_Encoding=name)
    assert (await refused(server, "/bomb")).reason == "too_large"


async def test_what_is_packed_wrongly_is_no_document(server: FeedServer):
    server.handlers["/broken"] = answer(body=b"no gzip at all", Content_Encoding="gzip")
    assert (await refused(server, "/broken")).reason == "http"


async def test_an_answer_that_does_not_end_is_left(
    server: FeedServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fetching, "TIMEOUT_SECONDS", 0.2)
    server.handlers["/slow"] = never
    assert (await refused(server, "/slow")).reason == "timeout"


async def test_only_what_moved_for_good_is_remembered(server: FeedServer):
    server.handlers["/old"] = redirect("/older")
    server.handlers["/older"] = redirect(server.url("/feed"), 308)
    server.handlers["/temporary"] = redirect("/old", 302)
    server.handlers["/half"] = redirect("/temporary")
    for path, moved in [("/old", "/feed"), ("/temporary", ""), ("/half", "/temporary")]:
        found = await fetch(server, path)
        assert found is not None
        assert (found.body, found.url) == (DOCUMENT, server.url("/feed"))
        assert found.moved == (server.url(moved) if moved else "")


@pytest.mark.parametrize(
    "target", ["", "ftp://example.org/", "file:///etc/passwd", "http://[", "/r"]
)
async def test_a_redirect_to_nowhere_is_an_error(server: FeedServer, target: str):
    server.handlers["/r"] = redirect(target)
    assert (await refused(server, "/r")).reason == "redirects"
    assert len(server.asked) <= fetching.MAX_REDIRECTS + 1


async def test_a_password_stays_on_its_server(server: FeedServer):
    async with feed_server() as other, Fetcher(LOOPBACK) as fetcher:
        server.handlers["/here"] = redirect("/feed")
        server.handlers["/there"] = redirect(other.url("/feed"))
        other.documents["/feed"] = DOCUMENT
        for path in ("/here", "/there"):
            await fetcher.fetch(server.url(path).replace("//", "//ada:secret@"), "", "")
        assert all("Authorization" in request.headers for request in server.asked)
        assert all("Authorization" not in request.headers for request in other.asked)


@pytest.mark.parametrize(("status", "reason"), [(404, "status"), (503, "status"), (410, "gone")])
async def test_a_refusal_is_told(server: FeedServer, status: int, reason: str):
    server.handlers["/no"] = answer(status)
    error = await refused(server, "/no")
    assert (error.reason, error.retry_after) == (reason, 0)
    assert str(status) in str(error)


async def test_a_server_says_how_long_it_wants_to_be_left_alone(server: FeedServer):
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    for value, least, most in [
        ("120", 120, 120),
        (later, 3500, 3600),
        ("soon", 0, 0),
        ("-1", 0, 0),
        ("9" * 400, MOST_SECONDS, MOST_SECONDS),
        ("Sun, 01 Jan 99999999999999999999 00:00:00 GMT", 0, 0),
        ("Sun, 01 Jan 2006 00:00:00 +99999999999", 0, 0),
        ("Sun, 01 Jan 2006 00:00:00 GMT", 0, 0),
    ]:
        server.handlers["/busy"] = answer(429, Retry_After=value)
        assert least <= (await refused(server, "/busy")).retry_after <= most, value


async def test_one_server_is_not_asked_by_all_at_once(server: FeedServer):
    together, most, go = 0, 0, asyncio.Event()

    async def count(request):
        nonlocal together, most
        together += 1
        most = max(most, together)
        if together == fetching.REQUESTS_PER_HOST:
            go.set()
        await go.wait()
        await asyncio.sleep(0)
        together -= 1
        return await answer(body=DOCUMENT)(request)

    server.handlers["/feed"] = count
    async with Fetcher(LOOPBACK) as fetcher:
        await asyncio.gather(*(fetcher.fetch(server.url("/feed"), "", "") for _ in range(10)))
    assert most == fetching.REQUESTS_PER_HOST


class TestPrivateAddresses:
    @pytest.mark.parametrize(
        "host",
        [
            "localhost",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "0.0.0.0",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[fe80::1]",
            "[fc00::1]",
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
        ],
    )
    async def test_nobody_is_asked_there(self, server: FeedServer, host: str):
        port = server.address.split(":")[1]
        async with Fetcher(()) as fetcher:
            with pytest.raises(FeedError) as raised:
                await fetcher.fetch(f"http://{host}:{port}/feed", "", "")
        assert raised.value.reason in ("private", "unreachable", "http")
        assert server.asked == []
        if host in ("127.0.0.1", "[::1]", "169.254.169.254"):
            assert raised.value.reason == "private"

    async def test_a_redirect_does_not_lead_there(self, server: FeedServer):
        server.handlers["/out"] = redirect("http://127.0.0.2:1/")
        async with Fetcher((ip_network("127.0.0.1/32"),)) as fetcher:
            with pytest.raises(FeedError) as raised:
                await fetcher.fetch(server.url("/out"), "", "")
        assert raised.value.reason == "private"

    async def test_nor_does_a_name_that_changes_its_address(
        self, server: FeedServer, monkeypatch: pytest.MonkeyPatch
    ):
        port = int(server.address.split(":")[1])
        asked = []

        async def resolve(self, host: str, *arguments: object, **options: object):
            asked.append(host)  # a name server of the attacker: each look another address
            return [
                {
                    "hostname": host,
                    "host": "127.0.0.1",
                    "port": port,
                    "family": socket.AF_INET,
                    "proto": 0,
                    "flags": socket.AI_NUMERICHOST,
                }
            ]

        monkeypatch.setattr("aiohttp.resolver.ThreadedResolver.resolve", resolve)
        monkeypatch.setattr("aiohttp.connector.DefaultResolver.resolve", resolve)
        async with Fetcher(()) as fetcher:
            with pytest.raises(FeedError) as raised:
                await fetcher.fetch(f"http://rebinding.example:{port}/feed", "", "")
        assert (asked, raised.value.reason) == (["rebinding.example"], "private")
        assert server.asked == []
