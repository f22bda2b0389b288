"""One feed over HTTP: asked politely, and within limits whatever the server does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from weakref import WeakValueDictionary

import aiohttp
from yarl import URL

from stream_app import __version__
from stream_app.core.errors import FeedError
from stream_app.sources.feeds.opml import is_address
from stream_app.sources.feeds.standing import MOST_SECONDS
from stream_app.web.retry_after import retry_after

TIMEOUT_SECONDS = 20.0  # of one request, with its body
MAX_BODY_BYTES = 15 * 1024 * 1024  # after decompression
MAX_REDIRECTS = 5
REQUESTS_PER_HOST = 2  # at once
CHUNK_BYTES = 64 * 1024
_PERMANENT, _REDIRECTS = {301, 308}, {301, 302, 303, 307, 308}
_HEADERS = {
    "User-Agent": f"winnow/{__version__} (feed reader)",
    "Accept": "application/atom+xml, application/rss+xml, application/feed+json, "
    "application/xml;q=0.9, text/xml;q=0.9, application/json;q=0.8, */*;q=0.5",
}
_NAT64 = ip_network("64:ff9b::/96")

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document, and what makes the next request for it a conditional one."""

    body: bytes
    etag: str
    modified: str
    url: str  # that the document was at
    moved: str  # where the feed is from now on; "" where it was asked for


class PrivateAddress(OSError):
    """A name stands for an address that is not of the public internet."""


class Fetcher(AbstractAsyncContextManager["Fetcher"]):
    """Asks for feeds. `allowed` are the networks that are not public and may be asked all the same.

    The address is checked where the socket is made: after names are resolved, for every redirect.
    So a name that changes its address between two looks gains nothing.
    """

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed
        self._hosts: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def __aenter__(self) -> Fetcher:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, socket_factory=self._socket),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._session.close()

    async def fetch(self, url: str, etag: str, modified: str) -> Fetched | None:
        """The document at an address; None where the server says that it has not changed.

        Raises FeedError.
        """
        known = {"If-None-Match": etag, "If-Modified-Since": modified}
        conditions = {name: value for name, value in known.items() if value}
        where, moved, permanent = URL(url), "", True
        for _ in range(MAX_REDIRECTS + 1):
            found = await self._ask(where, conditions)
            if not isinstance(found, _Redirect):
                body = found and Fetched(found.body, found.etag, found.modified, str(where), moved)
                return body or None
            where, permanent = _next(where, found.location), permanent and found.permanent
            moved = str(where) if permanent else moved
        raise FeedError("redirects", f"there are more than {MAX_REDIRECTS} redirects")

    async def _ask(self, where: URL, conditions: Mapping[str, str]) -> Fetched | _Redirect | None:
        host = self._hosts.setdefault(where.host or "", asyncio.Semaphore(REQUESTS_PER_HOST))
        async with host:
            try:
                async with self._session.get(
                    where, headers=conditions, allow_redirects=False
                ) as response:
                    return await _answer(response)
            except TimeoutError:
                why = f"there was no whole answer within {TIMEOUT_SECONDS:.0f} s"
                raise FeedError("timeout", why) from None
            except aiohttp.ClientConnectorError as error:
                raise _unreachable(error) from None
            except (aiohttp.ClientError, ValueError, OSError) as error:
                why = f"the answer cannot be read ({type(error).__name__})"
                raise FeedError("http", why) from None

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        """A socket for one resolved address; called for each connection."""
        family, kind, protocol, _, where = address
        self._check(str(where[0]))
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    def _check(self, host: str) -> None:
        """Raises PrivateAddress."""
        found = _carried(ip_address(host.partition("%")[0]))
        if any(found in network for network in self._allowed):
            return
        if not found.is_global or found.is_multicast:
            raise PrivateAddress(f"{found} is no public address; see feeds.allow_networks")


def _carried(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one stands for, where a translator would connect to."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


@dataclass(frozen=True, slots=True)
class _Redirect:
    location: str
    permanent: bool


async def _answer(response: aiohttp.ClientResponse) -> Fetched | _Redirect | None:
    headers, status = response.headers, response.status
    if status == 304:
        return None
    if status in _REDIRECTS:
        return _Redirect(headers.get("Location", ""), status in _PERMANENT)
    if status != 200:
        after = retry_after(headers.get("Retry-After", ""), MOST_SECONDS)
        reason = "gone" if status == 410 else "status"
        raise FeedError(reason, f"the server answers {status}", after)
    body = await _body(response)
    return Fetched(body, headers.get("ETag", ""), headers.get("Last-Modified", ""), "", "")


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """What was sent, decompressed. Raises FeedError beyond the limit, with the rest unread."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise FeedError("too_large", f"it is larger than {MAX_BODY_BYTES // 2**20} MiB")
    return bytes(body)


def _next(where: URL, location: str) -> URL:
    """Where a redirect leads; user and password are kept on the same server only."""
    try:
        target = where.join(URL(location))
    except ValueError:
        target = URL()
    if not location or not is_address(str(target)):
        raise FeedError("redirects", "it redirects to something that is no http address")
    if target.origin() == where.origin() and target.user is None:
        return target.with_user(where.user).with_password(where.password)
    return target


def _unreachable(error: aiohttp.ClientConnectorError) -> FeedError:
    cause = error.os_error
    if isinstance(cause, PrivateAddress):
        return FeedError("private", str(cause))
    if isinstance(error, aiohttp.ClientSSLError):
        return FeedError("tls", f"its certificate or TLS is not valid ({type(error).__name__})")
    return FeedError("unreachable", f"it cannot be reached ({cause.strerror or cause})")
