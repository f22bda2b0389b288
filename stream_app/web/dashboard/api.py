"""What the page asks for, in JSON.

| path              | answers                                              |
|-------------------|------------------------------------------------------|
| `/api/overview`   | every route in short                                 |
| `/api/route`      | one route, or one value of a pass field              |
| `/api/by`         | the values of a pass field, by what moved most       |
| `/api/events`     | the labels as they come, as server-sent events       |
| `/api/text`       | the text of a label, with `--show-text`              |
| `/api/correction` | POST: the right label of one, with `--show-text`     |

`/openapi.json` describes them (`openapi.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from pydantic import ConfigDict, ValidationError

from stream_app import __version__
from stream_app.core.feedback import RightLabels
from stream_app.core.settings import RouteSettings, Settings
from stream_app.web.dashboard.backlog import Backlog
from stream_app.web.dashboard.live import Live
from stream_app.web.dashboard.measures import Row
from stream_app.web.dashboard.openapi import description
from stream_app.web.dashboard.page import data, guarded, stream
from stream_app.web.dashboard.texts import Unknown, correct, text_of
from stream_app.web.dashboard.views import Views
from stream_app.web.dashboard.windows import RANGES, Range
from stream_app.web.dashboard.workers import Workers

MOST_ROWS = 500
_SORTS: Mapping[str, Callable[[Row], Any]] = {
    "value": lambda row: row["value"],
    "n": lambda row: -row["n"],
    "measure": lambda row: (row["measure"] is None, row["measure"]),  # the lowest first
}
MOST_LINES = 50
FRESH_SECONDS = 1.0  # so long many viewers share an answer


class Correction(RightLabels):
    """What a reader says of one label record."""

    model_config = ConfigDict(extra="forbid")

    route: str
    id: str


@dataclass(frozen=True, slots=True)
class Sources:
    """Where answers come from."""

    settings: Settings
    views: Views
    live: Live
    backlog: Backlog
    workers: Workers


class Api:
    """The handlers. Text is shown and corrected only with `show_text`."""

    def __init__(self, sources: Sources, token: str, show_text: bool) -> None:
        self._sources = sources
        self._routes = {route.name: route for route in sources.settings.routes}
        self._token = token
        self._show_text = show_text
        self._answers: dict[str, tuple[float, asyncio.Task[Any]]] = {}

    @property
    def resources(self) -> list[web.RouteDef]:
        """What a web server needs to know."""
        asked = {
            "overview": self._overview,
            "route": self._route,
            "by": self._by,
            "events": self._events,
            "text": self._text,
        }
        return [
            *(web.get(f"/api/{path}", guarded(h, self._token)) for path, h in asked.items()),
            web.post("/api/correction", guarded(self._correction, self._token)),
            web.get("/openapi.json", self._openapi),
        ]

    async def _openapi(self, request: web.Request) -> web.Response:
        return data(description(bool(self._token)))

    async def _overview(self, request: web.Request) -> web.Response:
        over = _range(request)
        return await self._shared(request, lambda: self._all_routes(over))

    def _all_routes(self, over: Range) -> dict[str, Any]:
        now = int(time.time())
        views = self._sources.views
        routes = [
            {
                "name": name,
                **views.route(name, over, now),
                "lag": self._sources.backlog.lag.get(name),
                "rate": self._sources.live.rate(name),
                "fields": views.fields(name),
            }
            for name in self._routes
        ]
        last = self._sources.live.lines(lambda line: True, MOST_LINES)
        return {"version": __version__, "text": self._show_text, "routes": routes, "last": last}

    async def _route(self, request: web.Request) -> web.Response:
        route, over = self._named(request), _range(request)
        name, value = request.query.get("by"), request.query.get("value")
        return await self._shared(request, lambda: self._of(route.name, name, value, over))

    def _of(self, route: str, name: str | None, value: str | None, over: Range) -> dict[str, Any]:
        now, views, s = int(time.time()), self._sources.views, self._sources
        one = name is not None and value is not None
        found = views.value(route, name or "", value or "", over, now) if one else None
        lines = s.live.lines(
            lambda line: (
                line["route"] == route and (not one or line["fields"].get(name or "") == value)
            ),
            MOST_LINES,
        )
        return {
            **(found or views.route(route, over, now)),
            "now": now,
            "lag": s.backlog.lag.get(route),
            "rate": s.live.rate(route),
            "drift": s.workers.drift.get(route, {}),
            "silent": list(s.workers.silent),
            "fields": views.fields(route),
            "measures": views.measures(route),
            "last": lines,
        }

    async def _by(self, request: web.Request) -> web.Response:
        route, over = self._named(request), _range(request)
        name, wanted = request.query.get("by", ""), request.query.get("find", "").casefold()
        measure, most = request.query.get("measure", ""), _number(request, "most", 50)
        by = request.query.get("sort", "")  # what moved most first, where it is none of these

        def answer() -> dict[str, Any]:
            views = self._sources.views
            measures = views.measures(route.name)
            chosen = measure if measure in measures else next(iter(measures), "")
            rows = views.by(route.name, name, over, int(time.time()), chosen)
            found = [row for row in rows if wanted in row["value"].casefold()]
            if by in _SORTS:
                found.sort(key=_SORTS[by])
            shown = found[: min(most, MOST_ROWS)]
            return {"measure": chosen, "all": len(rows), "found": len(found), "rows": shown}

        return await self._shared(request, answer)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        live = self._sources.live
        said = request.headers.get("Last-Event-ID", "")
        after = int(said) if said.isdecimal() and len(said) < 16 else live.last
        response = stream()
        await response.prepare(request)
        with suppress(ConnectionResetError):  # the viewer went away
            async for event in live.events(min(after, live.last)):
                await response.write(event)
        return response

    async def _text(self, request: web.Request) -> web.Response:
        self._require_text()
        route, label_id = self._named(request), request.query.get("id", "")
        try:
            found = await asyncio.to_thread(text_of, self._sources.settings, route, label_id)
        except Unknown as why:
            raise web.HTTPNotFound(text=str(why)) from None
        return data(found)

    async def _correction(self, request: web.Request) -> web.Response:
        self._require_text()
        try:
            told = Correction.model_validate_json(await request.read())
        except ValidationError:
            raise web.HTTPBadRequest(
                text="a correction has route, id and label, or labels"
            ) from None
        route = self._known(told.route)
        self._check(told)
        try:
            await asyncio.to_thread(
                correct, self._sources.settings, route, told.id, told.right, "dashboard"
            )
        except ValueError:
            raise web.HTTPBadRequest(text="this is no id of a label") from None
        return data({"sent": True})

    def _check(self, told: Correction) -> None:
        line: Mapping[str, Any] = self._sources.live.find(told.id) or {}
        choices = {*line.get("choices", ()), *self._sources.views.labels(told.route)}
        if unknown := set(told.right) - choices:
            raise web.HTTPBadRequest(text=f"the route has no label {min(unknown)!r}")
        if len(told.right) != 1 and not line.get("several", True):
            raise web.HTTPBadRequest(text="the route's model gives each text one label")

    def _require_text(self) -> None:
        if not self._show_text:
            raise web.HTTPForbidden(text="text is not shown: start it with --show-text")

    def _named(self, request: web.Request) -> RouteSettings:
        return self._known(request.query.get("route", ""))

    def _known(self, name: str) -> RouteSettings:
        route = self._routes.get(name)
        if route is None:
            raise web.HTTPNotFound(text=f"there is no route {name!r}")
        return route

    async def _shared(
        self, request: web.Request, answer: Callable[[], dict[str, Any]]
    ) -> web.Response:
        """The answer to a question; viewers who ask the same within a moment share one."""
        now = time.monotonic()
        fresh = {path: a for path, a in self._answers.items() if now - a[0] <= FRESH_SECONDS}
        if request.path_qs not in fresh:
            fresh[request.path_qs] = (now, asyncio.create_task(asyncio.to_thread(answer)))
        self._answers = fresh
        return data(await asyncio.shield(fresh[request.path_qs][1]))


def _range(request: web.Request) -> Range:
    name = request.query.get("range", "1h")
    if name not in RANGES:
        raise web.HTTPBadRequest(text=f"a range is one of {', '.join(RANGES)}")
    return RANGES[name]


def _number(request: web.Request, name: str, default: int) -> int:
    said = request.query.get(name, "")
    return int(said) if said.isdecimal() and len(said) < 9 else default
