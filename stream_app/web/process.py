"""What every long-running command needs around its work: a way to be told to stop, and HTTP."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from stream_app.web.server import WebServer


def stop_on_signals(stop: asyncio.Event) -> None:
    """Have SIGTERM and SIGINT set an event of the running loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


@asynccontextmanager
async def serving(server: WebServer) -> AsyncIterator[None]:
    """Have a server listen for the length of the block. Raises ConfigError as it does."""
    await server.start()
    try:
        yield
    finally:
        await server.stop()
