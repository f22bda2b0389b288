"""A worker process from start to end: broker, models, consumer, the way out. See assembly.py for
how a route is put together, and agent.py for what it does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Coroutine
from functools import partial
from traceback import format_tb

import faust
from aiokafka.errors import KafkaError
from faust.types import StreamT

from stream_app.agent import label_records
from stream_app.assembly import Assembled, Assembly
from stream_app.core.errors import BrokerError, WinnowError, cause_of
from stream_app.core.health import STUCK_SECONDS, Health
from stream_app.core.metrics import Metrics
from stream_app.core.settings import Settings
from stream_app.kafka.broker import ask_broker
from stream_app.model.confined.registry import ConfinedRegistry
from stream_app.pipeline.ack import AckTracker
from stream_app.services.drift import DriftMonitor
from stream_app.services.history.marks import Marks
from stream_app.services.history.report import Report
from stream_app.services.lag import LagMonitor
from stream_app.services.reading.broker import RETRY_SECONDS, await_broker
from stream_app.services.reading.consumer import GuardedConsumer, guarded_app
from stream_app.services.reading.consumer_thread import Guards
from stream_app.services.reading.records import records
from stream_app.services.reload import ModelReloader, first_model
from stream_app.services.traces import Traces
from stream_app.web.process import stop_on_signals
from stream_app.web.server import WebServer

log = logging.getLogger(__name__)

STOP_SECONDS = 10.0
SETTLE_SECONDS = 2.0  # deliveries under way when partitions go; far below any session timeout


class Worker:
    """One worker process: all routes, one consumer, one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = Metrics()
        # a rebalance may last a session's timeout, and nothing moves meanwhile
        self._health = Health(max(STUCK_SECONDS, 2 * settings.kafka.session_timeout_seconds))
        self._acks = AckTracker()
        self._registry = ConfinedRegistry(settings.registry.uri)
        self._marks = Marks()
        self._names = {route.input_topic: route.name for route in settings.routes}
        self._report = Report(self._names, self._metrics)
        self._routes: dict[str, Assembled] = {}
        self._drift = DriftMonitor(settings.drift, self._metrics)
        self._traces = Traces(os.environ)
        self._failure: WinnowError | None = None
        self._stop = asyncio.Event()
        self._step = ""  # of the start, as a clause
        self._stuck: list[str] = []  # threads that may not end by themselves, as clauses

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT; raises whatever made going on impossible."""
        stop_on_signals(self._stop)
        s = self._settings
        web = WebServer(s.metrics.host, s.metrics.port, self._metrics.registry, self._health)
        await web.start()
        try:
            if await self._prepare():
                async with self._consuming():
                    await self._stop.wait()
        finally:
            self._registry.close()  # first, or a thread that waits for it is stuck
            for name, route in self._routes.items():
                await route.publisher.close()
                await route.recall.close()
                if not await asyncio.to_thread(route.close):
                    self._stuck.append(f"route {name} is stuck in the engine or a codec")
            await web.stop()
            await self._traces.close()
        if self._stuck:
            self._leave()
        if self._failure is not None:
            raise self._failure

    def _leave(self) -> None:
        """End the process: Python would wait for stuck threads. All confirmed is committed."""
        if self._failure is not None:
            log.error("%s", self._failure)
        log.warning("exiting immediately: %s", "; ".join(self._stuck))
        logging.shutdown()
        os._exit(1 if self._failure else 0)

    async def _prepare(self) -> bool:
        """Wait for the broker and load the models; False if told to stop meanwhile."""
        prepared = await self._unless_stopped(self._load_routes())
        if not prepared:
            self._stuck.append(self._step)
        return prepared

    async def _unless_stopped(self, work: Coroutine[object, object, object]) -> bool:
        """Do it to the end; False if told to stop meanwhile."""
        stopped = asyncio.create_task(self._stop.wait())
        working = asyncio.create_task(work)
        await asyncio.wait({stopped, working}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if working.done():
            working.result()
            return True
        working.cancel()
        await asyncio.wait({working})
        return False

    async def _load_routes(self) -> None:
        settings = self._settings
        self._step = "the broker was not ready yet"
        broker = await await_broker(settings, self._health)
        assembly = Assembly(
            settings,
            self._registry,
            broker,
            self._acks,
            self._consumer,
            self._drift,
            self._metrics,
            self._traces,
        )
        for route in settings.routes:
            log.info("route %s: loading %s", route.name, route.model)
            self._step = f"route {route.name} was still loading {route.model}"
            source = assembly.source(route, route.model)
            model = await first_model(source, route.name, self._health)
            self._routes[route.name] = assembly.route(route, source, model)
            log.info("route %s: ready, batches of %d tokens", route.name, model.batch_tokens)

    @contextlib.asynccontextmanager
    async def _consuming(self) -> AsyncIterator[None]:
        """Faust consumes from here on; on the way out deliveries are settled and committed."""
        app = await self._started()
        if app is None:
            yield
            return
        routes = self._routes.values()
        reloader = ModelReloader(
            [watch for route in routes for watch in route.watches],
            self._settings.registry.poll_seconds,
            self._metrics,
        )
        beside = [service for route in routes for service in route.services]
        services = [self._lag_monitor(), reloader, self._drift, *beside]
        for service in services:
            await service.start()
        crashed = asyncio.create_task(self._watch_crash(app))
        self._health.unready("worker", None)
        log.info("consuming %s", ", ".join(sorted(r.input_topic for r in self._settings.routes)))
        try:
            yield
        finally:
            self._health.unready("worker", "stopping")
            crashed.cancel()
            for service in services:
                await service.stop()
            if not reloader.close():
                self._stuck.append("a new model was still loading")
            await self._stop_faust(app)

    async def _started(self) -> faust.App | None:
        """Faust, consuming; waits while the broker is away. None: told to stop, or refused."""
        while not self._stop.is_set():
            self._faust = app = self._new_faust()
            try:
                if await self._unless_stopped(app.start()) and not app.crashed:
                    return app
                if app.crashed:
                    self._crash(app)
            except KafkaError as error:
                name = type(error).__name__
                self._health.unready("broker", f"went away at the start ({name})")
                log.warning("the consumer cannot start (%s); trying again", name)
            await self._stop_faust(app)
            await asyncio.sleep(RETRY_SECONDS)
        return None

    async def _stop_faust(self, app: faust.App) -> None:
        # a commit waits for its broker without limit, and cannot be cancelled
        stopping = asyncio.create_task(app.stop())
        if (await asyncio.wait({stopping}, timeout=STOP_SECONDS))[1]:
            self._stuck.append("the consumer does not stop")

    def _new_faust(self) -> faust.App:
        transactional = frozenset(
            route.input_topic
            for route in self._settings.routes
            if route.delivery == "effectively_once"
        )
        guards = Guards(
            self._acks,
            self._marks,
            self._settle,
            self._forget,
            self._report,
            transactional,
            self._settings.kafka.auto_offset_reset == "latest",
        )
        app = guarded_app(self._settings, guards)
        for route in self._routes.values():
            self._add_agent(app, route)
        app.on_before_shutdown.connect(self._before_shutdown, weak=False)
        app.finalize()
        return app

    def _lag_monitor(self) -> LagMonitor:
        return LagMonitor(
            self._consumer(),
            partial(asyncio.to_thread, ask_broker, self._settings.kafka),
            self._names,
            {name: route.publisher for name, route in self._routes.items()},
            self._acks,
            self._metrics,
            self._health,
        )

    def _add_agent(self, app: faust.App, route: Assembled) -> None:
        topic = app.topic(
            route.settings.input_topic,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
        )

        async def agent(stream: StreamT[bytes]) -> None:
            assert isinstance(stream, faust.Stream)
            try:
                await label_records(records(stream, self._consumer(), self._marks), route.route)
            except Exception as error:
                self._fail(error, route.settings.name)

        app.agent(topic, name=route.settings.name)(agent)

    def _fail(self, error: BaseException, route: str) -> None:
        """Nothing more may be acked: remember why, and stop the worker."""
        error = cause_of(error)
        if isinstance(error, WinnowError):
            error.args = (f"route {route}: {error}",)
            self._failure = error
        else:
            # an unforeseen exception's own text may quote a message, so only its place is logged
            log.error("route %s: in %s", route, "".join(format_tb(error.__traceback__)))
            name = type(error).__name__
            self._failure = WinnowError(f"route {route}: unforeseen {name}: please report it")
        self._acks.freeze()
        self._stop.set()

    async def _watch_crash(self, app: faust.App) -> None:
        await app._crashed.wait()
        self._crash(app)

    def _crash(self, app: faust.App) -> None:
        reason = app.crash_reason
        if not isinstance(reason, WinnowError):
            reason = BrokerError(f"the consumer crashed ({reason!r:.200})")
        self._failure = reason
        self._stop.set()

    async def _before_shutdown(self, *_: object, **__: object) -> None:
        await self._settle()

    async def _settle(self) -> None:
        """Start no delivery; await those under way, so that they are acked and can be committed."""
        self._acks.freeze()
        waiting = [asyncio.create_task(r.publisher.wait_idle()) for r in self._routes.values()]
        _, late = await asyncio.wait(waiting, timeout=SETTLE_SECONDS)
        for task in late:
            task.cancel()
        if late:
            log.warning("%d deliveries still under way; they may come out twice", len(late))

    def _forget(self) -> None:
        self._acks.forget()
        for route in self._routes.values():
            route.in_flight.forget()
            route.publisher.forget()

    def _consumer(self) -> GuardedConsumer:
        consumer = self._faust.consumer
        assert isinstance(consumer, GuardedConsumer)
        return consumer


def run_worker(settings: Settings) -> int:
    """Run a worker until it is told to stop; the process's exit code. Raises WinnowError."""
    asyncio.run(_run(settings))
    return 0


async def _run(settings: Settings) -> None:
    await Worker(settings).run()
