"""A filter process from start to end: where labels come from, who may ask, the way out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from stream_app.core.errors import EngineSick
from stream_app.core.health import Health
from stream_app.core.metrics import Metrics
from stream_app.core.settings import RouteSettings, Settings
from stream_app.filter.asking import Asker, FailOpen
from stream_app.filter.corrections import Corrections
from stream_app.filter.http import Api
from stream_app.filter.in_process import in_process
from stream_app.filter.sockets import listening
from stream_app.filter.stream import Stream
from stream_app.web.access import address, bearer_token
from stream_app.web.process import serving, stop_on_signals
from stream_app.web.server import WebServer

log = logging.getLogger(__name__)


class Filter:
    """One process: a milter, an HTTP server, and one way to labels behind both."""

    def __init__(self, settings: Settings, without_kafka: bool) -> None:
        self._settings = settings
        self._mail = _mail_route(settings)
        self._without_kafka = without_kafka
        self._metrics = Metrics()
        self._health = Health()
        self._stop = asyncio.Event()
        self._failure: EngineSick | None = None

    async def run(self) -> None:
        """Answer until SIGTERM or SIGINT. Raises ConfigError, ModelError, EngineSick."""
        stop_on_signals(self._stop)
        async with self._asker() as asker:
            front = FailOpen(asker, self._settings.filter, self._metrics)
            async with self._web(front, self._corrections(asker)), self._milter(front):
                self._health.unready("worker", None)
                await self._stop.wait()
                front.stop()
        if self._failure is not None:
            raise self._failure

    def _asker(self) -> AbstractAsyncContextManager[Asker]:
        s = self._settings
        if self._without_kafka:
            return in_process(s, self._metrics, self._end)
        return Stream(s.kafka, s.routes, s.filter.deadline_seconds, self._health)

    def _corrections(self, asker: Asker) -> Corrections | None:
        """None without Kafka: there is nobody to tell them to."""
        if not isinstance(asker, Stream):
            return None
        s = self._settings
        return Corrections(asker.deliver, s.feedback.topic, s.filter, self._metrics)

    def _end(self, failure: EngineSick) -> None:
        self._failure = failure
        self._stop.set()

    def _web(
        self, front: FailOpen, corrections: Corrections | None
    ) -> AbstractAsyncContextManager[None]:
        s = self._settings
        host, port = address(s.filter.http)
        token = bearer_token("filter", s.filter.token_file, host)
        api = Api(front, corrections, s.routes, token)
        largest = max(route.max_record_bytes for route in s.routes)
        server = WebServer(
            host, port, self._metrics.registry, self._health, api.resources, largest, "filter.http"
        )
        return serving(server)

    @asynccontextmanager
    async def _milter(self, front: FailOpen) -> AsyncIterator[None]:
        settings, route = self._settings.filter, self._mail
        if route is None:
            yield
            return
        from stream_app.filter.milter import Milter  # of an extra, and HTTP does without

        milter = Milter(lambda mail: front.ask(route, mail), settings, route.max_record_bytes)
        with listening(settings.listen) as opened:
            server = await asyncio.start_server(milter.serve, sock=opened)
            log.info("the milter of route %s listens on %s", route.name, settings.listen)
            try:
                yield
            finally:
                server.close()
                await milter.stop()


def _mail_route(settings: Settings) -> RouteSettings | None:
    """None where no mail server connects. Raises ConfigError."""
    if not settings.filter.listen:
        return None
    return settings.route_of("rfc822", settings.filter.route, "filter.route")


async def run_filter(settings: Settings, without_kafka: bool) -> None:
    """Run a filter until it is told to stop. Raises as `Filter.run` does."""
    await Filter(settings, without_kafka).run()
