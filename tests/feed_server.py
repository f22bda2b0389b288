"""A server of news feeds as they are in the wild, on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from xml.sax.saxutils import escape

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def rss(items: Sequence[tuple[str, str]], title: str = "Haverbridge Gazette") -> bytes:
    """An RSS feed of items with these guids and titles, the newest first."""
    written = "".join(
        f"<item><guid>{escape(guid)}</guid><title>{escape(text)}</title>"
        f"<link>/news/{escape(guid)}</link><description>{escape(text)}, it is said.</description>"
        "</item>"
        for guid, text in reversed(items)
    )
    head = f"<title>{title}</title><link>http://gazette.example/</link>"
    return f'<rss version="2.0"><channel>{head}{written}</channel></rss>'.encode()


@dataclass
class FeedServer:
    """`documents` by path are served with real conditional GETs; `handlers` do anything else."""

    documents: dict[str, bytes] = field(default_factory=dict)
    handlers: dict[str, Handler] = field(default_factory=dict)
    asked: list[web.Request] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    address: str = ""

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"http://{self.address}{path}"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Any request."""
        self.asked.append(request)
        handler = self.handlers.get(request.path)
        response = await handler(request) if handler else self._document(request)
        self.statuses.append(response.status)
        return response

    def _document(self, request: web.Request) -> web.Response:
        body = self.documents.get(request.path)
        if body is None:
            return web.Response(status=404)
        etag = f'"{sha256(body).hexdigest()[:16]}"'
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304)
        response = web.Response(body=body, headers={"ETag": etag})
        response.enable_compression()
        return response


@asynccontextmanager
async def feed_server() -> AsyncIterator[FeedServer]:
    """A server on a free port, for the length of the block."""
    server = FeedServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    server.address = f"{host}:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()


def redirect(target: str, status: int = 301) -> Handler:
    """A handler that sends the client elsewhere."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": target})

    return handle


def answer(status: int = 200, body: bytes = b"", **headers: str) -> Handler:
    """A handler that always says the same."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=status,
            body=body,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    return handle


async def never(request: web.Request) -> web.StreamResponse:
    """A handler that begins an answer and does not go on."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"<rss>")
    await asyncio.Event().wait()
    return response
