"""One sink as a process: its follower on a thread, metrics and health over HTTP, the way out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiohttp import web

from stream_app.core.health import Health
from stream_app.core.metrics import Metrics
from stream_app.core.settings import KafkaSettings, RouteSettings
from stream_app.sinks.follow import Effect, Follower
from stream_app.web.access import address
from stream_app.web.process import serving, stop_on_signals
from stream_app.web.server import WebServer

log = logging.getLogger(__name__)

STUCK_SECONDS = 150.0  # a write may take two minutes


@dataclass(frozen=True)
class Sink:
    """What is particular about one: `name` is its command, consumer group and metrics."""

    name: str
    http: str  # host:port of metrics, health and `resources`
    batch: int  # labels written at once, at most
    effect: Effect
    resources: Sequence[web.RouteDef] = ()
    metrics: Metrics = field(default_factory=Metrics)
    dead_letters: str = ""  # a topic of labels to write instead of the routes', to its end
    key: str = ""  # the setting of that address; `<name>.http` where none is given


async def run_sink(sink: Sink, kafka: KafkaSettings, routes: Sequence[RouteSettings]) -> None:
    """Run until SIGTERM or SIGINT. Raises ConfigError, and what the effect does for good."""
    metrics, health, stop = sink.metrics, Health(STUCK_SECONDS), asyncio.Event()
    follower = Follower(
        sink.name, sink.effect, kafka, routes, metrics, health, sink.batch, sink.dead_letters
    )
    host, port = address(sink.http)
    key = sink.key or f"{sink.name}.http"
    server = WebServer(host, port, metrics.registry, health, sink.resources, key=key)
    stop_on_signals(stop)
    async with serving(server):
        health.unready("worker", None)
        log.info("sink %s follows %s", sink.name, ", ".join(route.name for route in routes))
        following = asyncio.create_task(asyncio.to_thread(follower.run))
        following.add_done_callback(lambda _: stop.set())
        await stop.wait()
        follower.stop()
        await following
