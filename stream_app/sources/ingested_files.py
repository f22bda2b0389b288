"""Files to a topic: what was not sent yet, in batches, each noted once the broker has it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stream_app.core.errors import SourceError
from stream_app.core.health import Health
from stream_app.core.metrics import Metrics
from stream_app.core.settings import KafkaClientSettings
from stream_app.sources.delivery import Delivery, Item
from stream_app.sources.files import Source
from stream_app.sources.process import run_source
from stream_app.sources.progress import Progress, Unsent
from stream_app.sources.state import State, opened_state
from stream_app.sources.timing import Pace, timestamp_of

log = logging.getLogger(__name__)

BATCH_MESSAGES = 500  # what a crash may send twice
BATCH_BYTES = 4 * 1024 * 1024
LOOK_SECONDS = 1.0  # between two passes


@dataclass(frozen=True)
class Manner:
    """How files are sent. `speed` 0: as fast as they are taken; else it needs the field."""

    follow: bool = False
    timestamp_field: str = ""
    speed: float = 0.0


@dataclass
class Outcome:
    """The outcome of a run; `refused` names those too large for the topic."""

    sent: int = 0
    undated: int = 0  # had no time in the timestamp field, and got the present one
    refused: list[str] = field(default_factory=list)


async def run_files(
    source: Source,
    manner: Manner,
    kafka: KafkaClientSettings,
    topic: str,
    state_file: Path,
    http: str,
    outcome: Outcome,
) -> None:
    """Send what a source has and was not sent yet; then end, or follow it until SIGTERM or SIGINT.

    `outcome` is kept current. Raises SourceError, ConfigError, BrokerError.
    """

    async def work(delivery: Delivery, metrics: Metrics, health: Health) -> None:
        await delivery.connect()
        progress = Progress(source, state, manner.follow)
        await Sender(progress, manner, delivery, state, outcome, health).run()

    with opened_state(state_file) as state:
        await run_source("files", kafka, topic, http, work)


class Sender:
    """Sends what a progress finds."""

    def __init__(
        self,
        progress: Progress,
        manner: Manner,
        delivery: Delivery,
        state: State,
        outcome: Outcome,
        health: Health,
    ) -> None:
        self._progress = progress
        self._manner = manner
        self._delivery = delivery
        self._state = state
        self._outcome = outcome
        self._health = health
        self._pace = Pace(manner.speed) if manner.speed else None

    async def run(self) -> None:
        """One pass over the files; with `follow`, one after the other."""
        while True:
            batches = _batches(self._progress.unsent())
            while batch := await self._read(batches):
                await self._send(batch)
            if not self._manner.follow:
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def _read(self, batches: Iterator[list[Unsent]]) -> list[Unsent] | None:
        with self._health.at_work("files"):  # a disk of somewhere else may never answer
            return await asyncio.to_thread(next, batches, None)

    async def _send(self, batch: Sequence[Unsent]) -> None:
        """Send a batch, each message when it is due, and note how far it went."""
        dated = [(each, self._item(each)) for each in batch]
        while dated:
            ready = []
            while dated and self._wait(dated[0][1]) <= 0:
                ready.append(dated.pop(0))
            if ready:
                await self._deliver(ready)
            if dated:
                await asyncio.sleep(self._wait(dated[0][1]))

    def _item(self, unsent: Unsent) -> Item | None:
        found = unsent.found
        if found is None:
            return None
        if not self._manner.timestamp_field:
            return Item(found.name, found.value)
        timestamp = timestamp_of(found.value, self._manner.timestamp_field)
        if timestamp is None:
            self._outcome.undated += 1
            log.warning("%s has no time in the timestamp field: it gets the present", found.name)
        return Item(found.name, found.value, timestamp=timestamp)

    def _wait(self, item: Item | None) -> float:
        return self._pace.wait(item.timestamp) if self._pace and item else 0.0

    async def _deliver(self, ready: Sequence[tuple[Unsent, Item | None]]) -> None:
        items = [item for _, item in ready if item is not None]

        def note(refused: list[Item]) -> None:
            self._outcome.sent += len(items) - len(refused)
            self._outcome.refused += [item.name for item in refused]
            for place, stands in {unsent.place: unsent.stands for unsent, _ in ready}.items():
                self._state.record(place, stands)

        await self._delivery.settle(items, note)


def _batches(unsent: Iterator[Unsent]) -> Iterator[list[Unsent]]:
    """Messages, a bounded number of bytes at a time; those before a fault come before it."""
    batch: list[Unsent] = []
    size = 0
    try:
        for each in unsent:
            batch.append(each)
            size += len(each.found.value) if each.found else 0
            if len(batch) == BATCH_MESSAGES or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
    except (OSError, SourceError):
        if batch:
            yield batch
        raise
    if batch:
        yield batch
