"""The feeds over HTTP: `/feeds/ROUTE/LABEL.atom` and `.json`, to whoever may read them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from aiohttp import web

from stream_app.core.settings import FeedSinkSettings
from stream_app.sinks.feed.document import Feed, atom, json_feed
from stream_app.sinks.feed.store import Store
from stream_app.web.access import is_allowed

KINDS: Mapping[str, tuple[Callable[[Feed], bytes], str]] = {
    "atom": (atom, "application/atom+xml"),
    "json": (json_feed, "application/feed+json"),
}
SETTLED_SECONDS = 2.0  # a date has whole seconds: what is younger may change within one
_GUARD = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'"}


class FeedServer:
    """Answers readers from the store. `token` is "" where anybody on the loopback may read."""

    def __init__(self, store: Store, settings: FeedSinkSettings, token: str) -> None:
        self._store = store
        self._settings = settings
        self._token = token

    @property
    def resources(self) -> Sequence[web.RouteDef]:
        """For `WebServer`."""
        return [
            web.get("/feeds/", self._list),
            web.get("/feeds/{route}/{label}.{kind:atom|json}", self._feed),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        """The addresses there are, a line each."""
        self._admit(request)
        lines = (
            self._address(request, *feed, kind) for feed in self._store.feeds() for kind in KINDS
        )
        return web.Response(text="".join(f"{line}\n" for line in lines), headers=_GUARD)

    async def _feed(self, request: web.Request) -> web.StreamResponse:
        self._admit(request)
        route, label, kind = (request.match_info[name] for name in ("route", "label", "kind"))
        items = self._store.latest(route, label)
        if not items:
            raise web.HTTPNotFound(text="nothing has this label yet; /feeds/ lists what there is\n")
        write, media_type = KINDS[kind]
        address = self._address(request, route, label, kind)
        feed = Feed(f"{route}: {label}", address, self._settings.hub, items)
        return _conditional(request, write(feed), media_type, feed.updated)

    def _address(self, request: web.Request, route: str, label: str, kind: str) -> str:
        base = self._settings.base_url.rstrip("/") or f"{request.scheme}://{request.host}"
        return f"{base}/feeds/{quote(route, safe='')}/{quote(label, safe='')}.{kind}"

    def _admit(self, request: web.Request) -> None:
        """A reader sends the token as a bearer, or as the password of any user: most can do the
        latter. It is never in an address, which logs and histories keep."""
        if not (is_allowed(request, self._token) or self._has_password(request)):
            raise web.HTTPUnauthorized(
                headers={"WWW-Authenticate": 'Basic realm="Winnow feeds", charset="UTF-8"'},
                text="send the token of feed_sink.token_file as the password\n",
            )

    def _has_password(self, request: web.Request) -> bool:
        kind, _, text = request.headers.get("Authorization", "").partition(" ")
        try:
            given = base64.b64decode(text, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return False
        return kind.lower() == "basic" and hmac.compare_digest(given, self._token.encode())


def _conditional(
    request: web.Request, body: bytes, media_type: str, updated: float
) -> web.StreamResponse:
    """The whole answer, or 304 to a reader that has it."""
    tag = hashlib.sha256(body).hexdigest()[:32]
    response = web.Response(body=body, headers={"Content-Type": media_type, **_GUARD})
    if request.if_none_match is not None:
        known = any(each.value in (tag, "*") for each in request.if_none_match)
    else:
        since = request.if_modified_since
        known = since is not None and int(updated) <= since.timestamp()
    if known:
        response = web.Response(status=304, headers=_GUARD)
    response.headers["Cache-Control"] = "private, max-age=60"
    response.etag = tag
    if time.time() - updated > SETTLED_SECONDS:
        response.last_modified = datetime.fromtimestamp(int(updated), UTC)
    return response
