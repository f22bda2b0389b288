"""Recall: whether a record that says it was replayed really is one of our dead letters.

Any producer may write any header. So what a replay keeps, the record's first id and how often it
failed, is taken from the dead letter itself, which is read back; outsiders cannot write there. It
counts where the letter's key and value are the record's (docs/adr/0017-replays-are-recalled.md).
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import (
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords

from stream_app.core.messages import Partition, Record
from stream_app.core.settings import RouteSettings
from stream_app.dead_letters.letters import (
    Place,
    attempts_of,
    belongs,
    content,
    origin_of,
    replay_of,
)
from stream_app.pipeline.work import Past, Work
from stream_app.services.history.parting import BrokerLogs
from stream_app.services.sending.send import FAILURES

log = logging.getLogger(__name__)

REMEMBERED = 4096  # letters, and places without one
READ_BYTES = 64 * 1024  # at a time: those behind the letter are often asked for next
WAIT_MS = 50  # for a letter that is not there; the embedded broker answers nothing for less
RETRY_SECONDS = 1.0
MISSING = (OffsetOutOfRangeError, UnknownTopicOrPartitionError)

Letter = tuple[bytes, Past]  # the digest of its key and value, and what a replay keeps


class Recall:
    """One route's dead letters, read back one by one. On the event loop; a replay is rare."""

    def __init__(
        self,
        route: RouteSettings,
        connect: Callable[[], AIOKafkaClient],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._route = route
        self._connect = connect
        self._sleep = sleep
        self._client: AIOKafkaClient | None = None
        self._known: OrderedDict[Place, Letter | None] = OrderedDict()

    async def __call__(self, works: Sequence[Work], wanted: Callable[[], bool]) -> None:
        """Give those works that were replayed their past. Waits for the broker while `wanted`."""
        for work in works:
            place = self._named(work.record)
            letter = None if place is None else await self._letter(place, wanted)
            if letter is not None and letter[0] == content(work.record):
                work.past = letter[1]

    async def close(self) -> None:
        """Let go of the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _named(self, record: Record) -> Place | None:
        """Where the letter is that the record names, if it could be one of this route."""
        place = replay_of(record)
        ours = place is not None and place[0].topic == self._route.dead_letter_topic
        return place if ours else None

    async def _letter(self, place: Place, wanted: Callable[[], bool]) -> Letter | None:
        while place not in self._known and wanted():
            try:
                await self._read(place)
            except MISSING:
                self._remember(place, None)
            except TopicAuthorizationFailedError:
                log.error(
                    "route %s: cannot read %s: replayed records get ids of their own. Give the "
                    "worker the right to read its dead letters",
                    self._route.name,
                    place[0].topic,
                )
                return None
            except FAILURES as error:
                log.warning(
                    "route %s: cannot read %s (%s); trying again",
                    self._route.name,
                    place[0].topic,
                    type(error).__name__,
                )
                await self.close()
                await self._sleep(RETRY_SECONDS)
        return self._known.get(place)

    async def _read(self, place: Place) -> None:
        """Remember what is at the place, and some of what follows. Raises KafkaError."""
        partition, offset = place
        if self._client is None:
            client = self._connect()
            await client.bootstrap()
            self._client = client
        leader = await BrokerLogs(self._client).leader(partition)
        asked = [(partition.topic, [(partition.number, offset, READ_BYTES)])]
        fetch = FetchRequest(WAIT_MS, 1, READ_BYTES, READ_COMMITTED, asked)
        answer = await self._client.send(leader, fetch)
        _, code, *_, aborted, _, data = answer.topics[0][1][0]
        if code:
            raise for_code(code)
        self._remember(place, None)
        tp = TopicPartition(*partition)
        for found in PartitionRecords(
            tp, MemoryRecords(data or b""), aborted, offset, None, None, True, READ_COMMITTED
        ):
            self._remember((partition, found.offset), self._as_letter(partition, found))

    def _as_letter(self, partition: Partition, found: Any) -> Letter | None:
        headers = tuple((name, value or b"") for name, value in found.headers)
        letter = Record(partition, found.offset, found.key, found.value, headers)
        if not belongs(letter, self._route):
            return None
        return content(letter), Past(origin_of(letter), attempts_of(letter))

    def _remember(self, place: Place, letter: Letter | None) -> None:
        self._known[place] = letter
        self._known.move_to_end(place)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
