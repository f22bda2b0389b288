"""Labels over HTTP: `POST /v1/label/ROUTE` with a raw message, answered with its label record.

Errors are problem documents (RFC 9457). No text of a message is in any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiohttp import web

from stream_app.codecs import CODECS
from stream_app.core.errors import NoLabel
from stream_app.core.settings import RouteSettings
from stream_app.filter.asking import FailOpen
from stream_app.filter.openapi import PATH, PROBLEMS, description
from stream_app.web.access import is_allowed

BODY_SECONDS = 30.0
STATUS_OF = {"too_large": 413, "dead_letter": 422}  # by NoLabel.reason; 503 for the others


class LabelApi:
    """The handlers. With a token, a request must bring it."""

    def __init__(self, front: FailOpen, routes: Sequence[RouteSettings], token: str) -> None:
        self._front = front
        self._by_name = {route.name: route for route in routes}
        self._token = token

    @property
    def resources(self) -> list[web.RouteDef]:
        """What a web server needs to know."""
        return [web.route("*", PATH, self._label), web.get("/openapi.json", self._openapi)]

    async def _label(self, request: web.Request) -> web.Response:
        status = self._refusal(request)
        if status:
            return _problem(status)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                value = await request.read()
        except TimeoutError:
            return _problem(408)
        except web.HTTPRequestEntityTooLarge:
            return _problem(413, NoLabel("too_large"))
        answer = await self._front.ask(self._by_name[request.match_info["route"]], value)
        if isinstance(answer, NoLabel):
            return _problem(STATUS_OF.get(answer.reason, 503), answer)
        return web.json_response(text=answer.model_dump_json())

    def _refusal(self, request: web.Request) -> int:
        """The status of a request that is not to be answered; 0 for the others."""
        route = self._by_name.get(request.match_info["route"])
        if not is_allowed(request, self._token):
            return 401
        if route is None:
            return 404
        if request.method != "POST":
            return 405
        return 0 if request.content_type in CODECS[route.format].media_types else 415

    async def _openapi(self, request: web.Request) -> web.Response:
        return web.json_response(description(bool(self._token)))


def _problem(status: int, why: NoLabel | None = None) -> web.Response:
    body = {"type": "about:blank", "title": PROBLEMS[status], "status": status}
    if why is not None:
        body["reason"] = why.reason
        body["code"] = why.code
    headers = {405: {"Allow": "POST"}, 401: {"WWW-Authenticate": "Bearer"}}.get(status)
    return web.json_response(
        body, status=status, headers=headers, content_type="application/problem+json"
    )
