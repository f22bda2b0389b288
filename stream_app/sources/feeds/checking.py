"""One check of a feed, from top to bottom: ask, read, deliver what is new, remember."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b, sha256

from stream_app.core.errors import FeedError
from stream_app.core.metrics import Metrics
from stream_app.sources.delivery import Delivery, Item
from stream_app.sources.feeds.fetching import Fetcher
from stream_app.sources.feeds.opml import shown
from stream_app.sources.feeds.readers import Readers
from stream_app.sources.feeds.reading import Read
from stream_app.sources.feeds.standing import Standing
from stream_app.sources.state import State

log = logging.getLogger(__name__)

CHUNK_ITEMS = 500  # delivered, then remembered: what a crash may send twice
CHUNK_BYTES = 4 * 1024 * 1024
MAX_KEY_BYTES = 1_000


@dataclass(frozen=True)
class Checker:
    """What checks feeds. A feed is known by the address it was subscribed at, wherever it moves."""

    fetcher: Fetcher
    readers: Readers
    delivery: Delivery
    state: State
    metrics: Metrics

    async def check(self, feed: str) -> Standing:
        """Check a feed, and keep where it stands then. Raises as `Delivery.deliver` does."""
        before = Standing.of(self.state.place(feed), time.time())
        try:
            outcome, after = await self._look(feed, before)
        except FeedError as error:
            outcome = error.reason
            after = before.failed(error.retry_after, error.reason == "gone", time.time())
            word = "given up, until the next start" if after.given_up else "tried again later"
            _warn(feed, f"{error}; {word}")
        self.state.record(feed, after.kept)
        self.metrics.feed_checks.labels(outcome).inc()
        return after

    async def _look(self, feed: str, before: Standing) -> tuple[str, Standing]:
        found = await self.fetcher.fetch(before.moved or feed, before.etag, before.modified)
        if found is None:
            return "not_modified", before.checked(False, time.time())
        seen = {
            "etag": found.etag,
            "modified": found.modified,
            "moved": found.moved or before.moved,
        }
        digest = sha256(found.body).hexdigest()
        if digest == before.digest:
            return "unchanged", before.checked(False, time.time(), **seen)
        news = await self._deliver(feed, await self.readers.read(found, feed), before)
        after = before.checked(news > 0, time.time(), **seen, digest=digest)
        if news:
            log.info("feed %s: %d new items", shown(feed), news)
        return "new" if news else "unchanged", after

    async def _deliver(self, feed: str, items: Sequence[Read], before: Standing) -> int:
        """Deliver those that were not yet, oldest first; how many they are."""
        ids = [item_id for item_id, _ in items]
        new = await asyncio.to_thread(self.state.unsent, feed, ids)  # half a second for 100,000
        unsent = [(item_id, value) for item_id, value in reversed(items) if item_id in new]
        for chunk in _chunks(unsent):
            note = partial(self._note, feed, before, [item_id for item_id, _ in chunk])
            await self.delivery.settle([_record(feed, *item) for item in chunk], note)
        return len(unsent)

    def _note(
        self, feed: str, before: Standing, sent: Sequence[str], refused: Sequence[Item]
    ) -> None:
        """Keep which items are sent. Where the feed stands moves after the last of them."""
        if refused:
            _warn(feed, f"{len(refused)} items are too large for the topic")
        self.state.record(feed, before.kept, sent)


def _warn(feed: str, why: str) -> None:
    log.warning(f"feed {shown(feed)}: {why}")  # one text: floods are folded by it, not feeds


def _record(feed: str, item_id: str, value: bytes) -> Item:
    return Item(shown(feed), value, _key(feed, item_id))


def _key(feed: str, item_id: str) -> bytes:
    """Feed and guid; a guid of any length in a bounded key."""
    key = f"{feed} {item_id}".encode("utf-8", "replace")
    if len(key) <= MAX_KEY_BYTES:
        return key
    return f"{feed} {blake2b(key, digest_size=16).hexdigest()}".encode("utf-8", "replace")


def _chunks(items: Sequence[Read]) -> Iterator[list[Read]]:
    chunk: list[Read] = []
    size = 0
    for item in items:
        if chunk and (len(chunk) == CHUNK_ITEMS or size + len(item[1]) > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += len(item[1])
    if chunk:
        yield chunk
