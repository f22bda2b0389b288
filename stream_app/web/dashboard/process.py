"""A dashboard process from start to end: the threads that read, the page, the way out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from typing import Protocol

from stream_app.core.errors import ConfigError
from stream_app.core.health import Health
from stream_app.core.metrics import Metrics
from stream_app.core.settings import Settings
from stream_app.web.access import address, bearer_token
from stream_app.web.dashboard.api import Api, Sources
from stream_app.web.dashboard.backlog import Backlog
from stream_app.web.dashboard.follow import Follower, Lines
from stream_app.web.dashboard.history import History, last_lines
from stream_app.web.dashboard.live import Live
from stream_app.web.dashboard.page import page_files
from stream_app.web.dashboard.views import Views
from stream_app.web.dashboard.workers import Workers
from stream_app.web.process import serving, stop_on_signals
from stream_app.web.server import WebServer

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 4_096
LOOK_SECONDS = 1.0  # between two looks at what is wrong, for viewers without news


async def run_dashboard(settings: Settings, show_text: bool) -> None:
    """Show the streams until SIGTERM or SIGINT. Raises ConfigError."""
    stop = asyncio.Event()
    stop_on_signals(stop)
    host, port = address(settings.dashboard.listen)
    token = bearer_token("dashboard", settings.dashboard.token_file, host)
    if show_text and not token:
        raise ConfigError(
            "--show-text: text is only for who holds a token: give dashboard.token_file, a file "
            "with one"
        )
    file, health, metrics = settings.dashboard.history, Health(), Metrics()
    with closing(History(file)) as history, closing(Views(file)) as views:
        live = Live(last_lines(file), health.not_ready)
        loop = asyncio.get_running_loop()

        def tell(lines: Lines) -> None:
            loop.call_soon_threadsafe(live.tell, lines)

        follower = Follower(settings.kafka, settings.routes, history, health, tell)
        backlog = Backlog(settings.kafka, settings.routes, health)
        workers = Workers(settings.dashboard.workers or _own_worker(settings))
        api = Api(Sources(settings, views, live, backlog, workers), token, show_text)
        routes = [*page_files(), *api.resources]
        metrics.dashboard_viewers.set_function(lambda: live.viewers)
        server = WebServer(
            host, port, metrics.registry, health, routes, MAX_BODY_BYTES, "dashboard.listen"
        )
        health.unready("worker", None)
        async with serving(server), _beside(follower, stop), _beside(backlog, stop):
            log.info("the dashboard is at http://%s:%s/", host, port)
            await _until(stop, workers, live)


class Reader(Protocol):
    """What runs on a thread of its own until it is told to stop."""

    def run(self) -> None: ...
    def stop(self) -> None: ...


@asynccontextmanager
async def _beside(reader: Reader, stop: asyncio.Event) -> AsyncIterator[None]:
    """Have it run for the length of the block. What ends it ends the process, and is raised."""
    with ThreadPoolExecutor(1, type(reader).__name__) as thread:
        running = asyncio.get_running_loop().run_in_executor(thread, reader.run)
        running.add_done_callback(lambda _: stop.set())
        try:
            yield
        finally:
            reader.stop()
            await running


async def _until(stop: asyncio.Event, workers: Workers, live: Live) -> None:
    async def look() -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            live.tell(())

    tasks = [asyncio.create_task(workers.run()), asyncio.create_task(look())]
    await stop.wait()
    live.stop()
    for task in tasks:
        task.cancel()


def _own_worker(settings: Settings) -> tuple[str, ...]:
    """The worker that this configuration starts."""
    metrics = settings.metrics
    return (f"{metrics.host}:{metrics.port}",) if metrics.port else ()
