"""One mailbox, followed for ever: connected, opened, and what is new taken whenever there is some.

It is opened for reading only: no mail is marked as seen.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from stream_app.core.backoff import Backoff
from stream_app.core.errors import ConfigError, ImapError, ImapRefused
from stream_app.core.health import Health
from stream_app.core.metrics import Metrics
from stream_app.imap.account import Account
from stream_app.imap.session import Session
from stream_app.sources.imap.taking import Taking

log = logging.getLogger(__name__)

IDLE_SECONDS = 300.0  # then we look in any case: a router may have forgotten the connection
RETRY_SECONDS = 1.0, 60.0  # at first, at the longest


class Mailbox:
    """A mailbox of an account; a server without IDLE is asked every `poll_seconds`."""

    def __init__(
        self,
        name: str,
        account: Account,
        poll_seconds: float,
        taking: Taking,
        metrics: Metrics,
        health: Health,
    ) -> None:
        self._name = name
        self._account = account
        self._poll_seconds = poll_seconds
        self._taking = taking
        self._open = metrics.imap_open.labels(name)
        self._health = health
        self._thread = ThreadPoolExecutor(1, f"imap-{name}")
        self._was_in = False
        self._backoff = Backoff(*RETRY_SECONDS)
        self._is("not open yet")

    async def follow(self) -> None:
        """Until cancelled; a server that is away is waited for.

        Raises ConfigError and ImapRefused where we are refused at the start, which is no outage.
        """
        try:
            while True:
                try:
                    await self._follow_once()
                except (ImapError, ConfigError) as error:
                    refused = isinstance(error, (ImapRefused, ConfigError))
                    if refused and not self._was_in:
                        raise
                    self._is(str(error))
                    level = logging.ERROR if refused else logging.WARNING
                    log.log(level, "%s: no mail for now: %s", self._name, error)
                    await asyncio.sleep(self._backoff.failed())
        finally:
            self._thread.shutdown(wait=False)

    async def _follow_once(self) -> None:
        session = await self._on_thread(self._account.session)
        try:
            opened = await self._on_thread(session.open, self._name, True)
            stands = await self._taking.begin(session, opened, self._on_thread)
            self._was_in = True
            self._is(None)
            log.info("%s: following from UID %d on", self._name, stands.uid + 1)
            while True:
                stands = await self._taking.take_new(session, stands, self._on_thread)
                self._backoff.succeeded()
                await self._news(session)
        finally:
            session.hang_up()  # what is still asked on the thread ends
            self._thread.submit(session.close)

    async def _news(self, session: Session) -> None:
        """Wait until there may be something new."""
        if not await self._on_thread(lambda: session.can_idle):
            await asyncio.sleep(self._poll_seconds)
            return
        await self._on_thread(session.idle)
        if not session.has_news:
            await _readable(session.fileno(), IDLE_SECONDS)
        await self._on_thread(session.done)

    def _is(self, unready: str | None) -> None:
        """Show that it is followed, or why it is not."""
        self._health.unready(f"mailbox {self._name}", unready)
        self._open.set(unready is None)

    async def _on_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        with self._health.at_work(f"mailbox {self._name}"):
            return await loop.run_in_executor(self._thread, function, *arguments)


async def _readable(descriptor: int, seconds: float) -> None:
    """Wait until something comes from a socket, or so long."""
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    loop.add_reader(descriptor, came.set)
    try:
        async with asyncio.timeout(seconds):
            await came.wait()
    except TimeoutError:
        pass
    finally:
        loop.remove_reader(descriptor)
