"""A source from start to end: its delivery, health and metrics over HTTP, the way out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext

from stream_app.core.health import Health
from stream_app.core.metrics import Metrics
from stream_app.core.settings import KafkaClientSettings
from stream_app.sources.delivery import Delivery, delivering
from stream_app.web.access import address
from stream_app.web.process import serving, stop_on_signals
from stream_app.web.server import WebServer

# no piece of work takes so long: a mail over the slowest line has half of it
STUCK_SECONDS = 3600.0

Work = Callable[[Delivery, Metrics, Health], Awaitable[None]]


async def run_source(
    name: str, kafka: KafkaClientSettings, topic: str, http: str, work: Work
) -> None:
    """Do a source's work until it is done, or SIGTERM or SIGINT cancels it.

    `name` is that of its section, whose `http` is HOST:PORT for /metrics, /healthz and /readyz;
    "" for none. Raises what `work` raises, and as `delivering` and `serving` do.
    """
    metrics, health, stop = Metrics(), Health(STUCK_SECONDS), asyncio.Event()
    web = _web(name, http, metrics, health) if http else nullcontext()
    stop_on_signals(stop)
    async with delivering(name, kafka, topic, metrics, health) as delivery, web:
        health.unready("worker", None)
        working = asyncio.ensure_future(work(delivery, metrics, health))
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working})
        if not working.cancelled():
            await working


def _web(
    name: str, http: str, metrics: Metrics, health: Health
) -> AbstractAsyncContextManager[None]:
    host, port = address(http)
    return serving(WebServer(host, port, metrics.registry, health, key=f"{name}.http"))
