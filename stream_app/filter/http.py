"""Labels and corrections over HTTP; `openapi.py` describes both.

`POST /v1/label/ROUTE` with a raw message is answered with its label record. `POST
/v1/correct/ROUTE` says what would have been right: of a record by its id, or of the message that is
sent. Errors are problem documents (RFC 9457). No text of a message is in any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from stream_app.codecs import CODECS
from stream_app.core.errors import NoCorrection, NoLabel
from stream_app.core.settings import RouteSettings
from stream_app.filter.asking import FailOpen
from stream_app.filter.corrections import Corrections
from stream_app.filter.openapi import CORRECT, LABEL, PROBLEMS, description
from stream_app.web.access import is_allowed

BODY_SECONDS = 30.0
STATUS_OF = {  # by reason; 503 for the others
    "invalid": 400,
    "unauthorized": 401,
    "too_large": 413,
    "dead_letter": 422,
    "unreadable": 422,
    "too_many": 429,
}
Handler = Callable[[web.Request], Awaitable[web.Response]]


class Api:
    """The handlers. With a token, a request must bring it; without one no correction is taken."""

    def __init__(
        self,
        front: FailOpen,
        corrections: Corrections | None,
        routes: Sequence[RouteSettings],
        token: str,
    ) -> None:
        self._front = front
        self._corrections = corrections if token else None
        self._by_name = {route.name: route for route in routes}
        self._token = token

    @property
    def resources(self) -> list[web.RouteDef]:
        """What a web server needs to know."""
        return [
            web.route("*", LABEL, _answering(self._label)),
            web.route("*", CORRECT, _answering(self._correct)),
            web.get("/openapi.json", self._openapi),
        ]

    async def _label(self, request: web.Request) -> web.Response:
        route = self._route(request)
        if not is_allowed(request, self._token):
            raise _Problem(401)
        answer = await self._front.ask(route, await _message(request, route))
        if isinstance(answer, NoLabel):
            raise answer
        return web.json_response(text=answer.model_dump_json())

    async def _correct(self, request: web.Request) -> web.Response:
        route, given = self._route(request), request.query
        if self._corrections is None:
            raise _Problem(501)
        if not is_allowed(request, self._token):
            raise self._corrections.refused(route, NoCorrection("unauthorized", PROBLEMS[401]))
        about = given.get("id") or await _message(request, route)
        labels = given.getall("label", [""])
        await self._corrections.take(route, labels, given.get("who", ""), about)
        return web.Response(status=204)

    def _route(self, request: web.Request) -> RouteSettings:
        route = self._by_name.get(request.match_info["route"])
        if route is None:
            raise _Problem(404)
        if request.method != "POST":
            raise _Problem(405)
        return route

    async def _openapi(self, request: web.Request) -> web.Response:
        return web.json_response(description(bool(self._token)))


class _Problem(Exception):
    """A request that is not to be answered, by its status."""

    def __init__(self, status: int) -> None:
        super().__init__(PROBLEMS[status])
        self.status = status


def _answering(handler: Handler) -> Handler:
    """The handler, with its problems answered."""

    async def answer(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except _Problem as problem:
            return _document(problem.status)
        except (NoCorrection, NoLabel) as why:
            return _document(STATUS_OF.get(why.reason, 503), why)

    return answer


def _document(status: int, why: NoCorrection | NoLabel | None = None) -> web.Response:
    body = {"type": "about:blank", "title": PROBLEMS[status], "status": status}
    if why is not None:
        body["reason"] = why.reason
        body["code"] = why.code
    headers = {405: {"Allow": "POST"}, 401: {"WWW-Authenticate": "Bearer"}}.get(status)
    return web.json_response(
        body, status=status, headers=headers, content_type="application/problem+json"
    )


async def _message(request: web.Request, route: RouteSettings) -> bytes:
    """The message in a request, of a media type of the route's."""
    if request.content_type not in CODECS[route.format].media_types:
        raise _Problem(415)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        raise _Problem(408) from None
    except web.HTTPRequestEntityTooLarge:
        raise NoLabel("too_large") from None
