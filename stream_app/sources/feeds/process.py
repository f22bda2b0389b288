"""All feeds, each at its own pace, until told to stop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from stream_app.core.errors import FeedError, cause_of
from stream_app.core.health import Health
from stream_app.core.metrics import Metrics
from stream_app.core.settings import FeedsSettings, KafkaClientSettings
from stream_app.sources.delivery import Delivery
from stream_app.sources.feeds.checking import Checker
from stream_app.sources.feeds.fetching import Fetcher
from stream_app.sources.feeds.opml import shown
from stream_app.sources.feeds.readers import Readers
from stream_app.sources.feeds.standing import Standing
from stream_app.sources.process import run_source
from stream_app.sources.state import State, opened_state

log = logging.getLogger(__name__)

CHECKS = 16  # at once
LOOK_SECONDS = 5.0  # between two looks at the gauges


async def run_feeds(
    feeds: Sequence[str],
    settings: FeedsSettings,
    kafka: KafkaClientSettings,
    topic: str,
    once: bool,
) -> None:
    """Send the items of feeds to a topic until SIGTERM or SIGINT; with `once` check each that is
    due, and end. Raises ConfigError, BrokerError."""

    async def work(delivery: Delivery, metrics: Metrics, health: Health) -> None:
        await delivery.connect()
        async with Fetcher(settings.allow_networks) as fetcher, Readers() as readers:
            checker = Checker(fetcher, readers, delivery, state, metrics)
            await FeedReader(feeds, checker, state, metrics, health).run(once)

    with opened_state(settings.state) as state:
        await run_source("feeds", kafka, topic, settings.http, work)


class FeedReader:
    """Every feed has a task, that sleeps until its next check."""

    def __init__(
        self,
        feeds: Sequence[str],
        checker: Checker,
        state: State,
        metrics: Metrics,
        health: Health,
    ) -> None:
        self._checker = checker
        self._metrics = metrics
        self._health = health
        self._turns = asyncio.Semaphore(CHECKS)
        now = time.time()
        self._stand = {feed: Standing.of(state.place(feed), now).revived(now) for feed in feeds}
        for feed, standing in self._stand.items():
            state.record(feed, standing.kept)
        state.forget()

    async def run(self, once: bool) -> None:
        """Check feeds until cancelled, or until each that was due is checked, or given up. Raises
        FeedError where any of them failed."""
        log.info("reading %d feeds", len(self._stand))
        try:
            async with asyncio.TaskGroup() as tasks:
                checks = [tasks.create_task(self._follow(feed, once)) for feed in self._stand]
                gauges = tasks.create_task(self._show())
                await asyncio.wait(checks)
                gauges.cancel()
        except* Exception as group:
            raise cause_of(group) from None
        failing = sum(standing.failures > 0 for standing in self._stand.values())
        if failing:
            of_all = f"{failing} of {len(self._stand)} feeds"
            raise FeedError("status", f"{of_all} cannot be read: the log says which, and why")

    async def _follow(self, feed: str, once: bool) -> None:
        while not self._stand[feed].given_up:
            wait = self._stand[feed].due - time.time()
            if once and wait > 0:
                return
            await asyncio.sleep(wait)
            async with self._turns:
                with self._health.at_work(f"feed {shown(feed)}"):
                    self._stand[feed] = await self._checker.check(feed)

    async def _show(self) -> None:
        """Keep the gauges: how many feeds are well, and how late the checks are."""
        while True:
            now, stand = time.time(), self._stand.values()
            given_up = sum(standing.given_up for standing in stand)
            failing = sum(standing.failures > 0 for standing in stand) - given_up
            self._metrics.feeds.labels("given_up").set(given_up)
            self._metrics.feeds.labels("failing").set(failing)
            self._metrics.feeds.labels("ok").set(len(stand) - failing - given_up)
            due = [standing.due for standing in stand if not standing.given_up]
            self._metrics.feeds_overdue_seconds.set(max(0.0, now - min(due, default=now)))
            await asyncio.sleep(LOOK_SECONDS)
