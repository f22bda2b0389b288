"""A client of the filter's HTTP API, and what it is answered by."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession, web

from stream_app.core.label_record import LabelRecord
from stream_app.core.metrics import Metrics
from stream_app.core.settings import FilterSettings
from stream_app.filter import openapi
from stream_app.filter.asking import FailOpen
from stream_app.filter.corrections import Corrections
from stream_app.filter.http import Api
from tests.filter_answers import Answers, mail_route

MAIL = {"Content-Type": "message/rfc822"}
ROUTES = [
    mail_route(),
    mail_route(name="reviews", format="json", input_topic="r", output_topic="rl"),
    mail_route(name="lines", format="text", input_topic="l", output_topic="ll"),
]
LARGEST = 1000


@asynccontextmanager
async def serving(
    answer: LabelRecord | Exception,
    token: str = "",
    corrections: Corrections | None = None,
    **given: object,
) -> AsyncIterator[tuple[ClientSession, Answers]]:
    """A client of the API, and what it is answered by."""
    asker = Answers(answer)
    front = FailOpen(asker, FilterSettings(**{"deadline_seconds": 60} | given), Metrics())
    app = web.Application(client_max_size=LARGEST)
    app.router.add_routes(Api(front, corrections, ROUTES, token).resources)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
            yield client, asker
    finally:
        await runner.cleanup()


async def problem(answer: Any, status: int) -> dict[str, Any]:
    """The problem document of an answer, which the description must know."""
    assert answer.status == status
    assert answer.content_type == "application/problem+json"
    document: dict[str, Any] = await answer.json()
    assert document["status"] == status
    assert await described(answer) == {"$ref": "#/components/schemas/Problem"}
    assert set(document) <= set(
        openapi.description(False)["components"]["schemas"]["Problem"]["properties"]
    )
    return document


async def described(answer: Any) -> Any:
    """The schema that /openapi.json has for such an answer."""
    path = f"/v1/{answer.url.parts[2]}/{{route}}"
    url = answer.url.with_path("/openapi.json")
    async with ClientSession() as client, client.get(url) as found:
        document = await found.json()
    response = document["paths"][path]["post"]["responses"][str(answer.status)]
    return response["content"][answer.content_type]["schema"]
