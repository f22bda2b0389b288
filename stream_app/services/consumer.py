"""The guarded consumer: Faust's, with our own rules where Faust's lose records.

What Faust 0.15.3 does, and what is done instead (docs/adr/0001-own-the-offsets.md):

- It commits what its own bookkeeping calls acked, which counts records it skipped around a
  rebalance, and can jump over a gap. Here only the ack tracker's positions are committed.
- It forgets acked offsets on revocation before anybody may commit them. Here deliveries under way
  are awaited (bounded), committed, and only then is the revocation passed on.
- `pause_partitions` silently drops what was fetched already. Here a partition is paused as Faust's
  own buffers do it, which still delivers what is in hand.
- With every partition paused it sleeps a second. Here a resume wakes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

from faust import App, Stream
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from yarl import URL

from stream_app.core.messages import Headers, Partition, Record
from stream_app.pipeline.ack import AckTracker

POLL_WHILE_PAUSED = 0.1  # seconds; a resumed partition joins at the next poll


class GuardedConsumer(driver.Consumer):
    """See the module's text. `settle` awaits deliveries under way; `revoked` drops the rest."""

    def __init__(
        self,
        *args: Any,
        acks: AckTracker,
        settle: Callable[[], Awaitable[None]],
        revoked: Callable[[set[Partition]], None],
        **kwargs: Any,
    ) -> None:
        self._acks = acks
        self._settle = settle
        self._revoked = revoked
        self._resumed = asyncio.Event()
        self.joined = False  # whether this member has its assignment, which may be empty
        super().__init__(*args, **kwargs)

    def pause(self, partition: Partition) -> None:
        """Fetch no more of this partition; what is fetched already is still delivered."""
        self.on_buffer_full(TP(*partition))

    def resume(self, partition: Partition) -> None:
        """Fetch this partition again, at once."""
        self.on_buffer_drop(TP(*partition))
        self._resumed.set()

    def committed(self, partition: Partition) -> int:
        """The offset this group last committed there; 0 where it never did."""
        return self._committed_offset[TP(*partition)] or 0

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish deliveries under way and commit, before Faust forgets; drop the rest."""
        partitions = {Partition(*tp) for tp in revoked}
        self.joined = False
        self.stop_flow()
        await self._settle()
        await self.commit()
        self._buffered_partitions -= revoked
        self._revoked(partitions)
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Faust's, and from then on this member is ready: a standby's share may be empty."""
        await super().on_partitions_assigned(assigned, generation_id)
        self.joined = True

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        """What may be committed: the ack tracker's positions that moved, nothing else."""
        del tps
        positions = {TP(*p): offset for p, offset in self._acks.positions().items()}
        return {tp: o for tp, o in positions.items() if o > (self._committed_offset[tp] or 0)}

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Gaps need no bookkeeping: positions follow delivery order."""

    async def _wait_next_records(self, timeout: float) -> Any:
        if self._buffered_partitions:
            timeout = min(timeout, POLL_WHILE_PAUSED)
            if self.flow_active and not self._get_active_partitions():
                self._resumed.clear()
                await self.wait_first(self._resumed.wait(), self.suspend_flow.wait(), timeout=1.0)
        return await super()._wait_next_records(timeout)


class GuardedTransport(driver.Transport):
    """Faust's aiokafka transport with the guarded consumer."""

    def __init__(self, url: list[URL], app: App, **guards: Any) -> None:
        super().__init__(url, app)
        self._guards = guards

    def create_consumer(self, callback: Any, **kwargs: Any) -> GuardedConsumer:
        """The consumer, with its guards."""
        return GuardedConsumer(self, callback=callback, **self._guards, **kwargs)


async def records(stream: Stream[bytes], app: App) -> AsyncIterator[Record]:
    """The stream's raw records, un-acked; those of an earlier group generation are left out.

    A rebalance can leave fetched events of the previous generation behind; the new owner of their
    partition, which may be this process, gets them again.
    """
    async for event in stream.noack().events():
        message = event.message
        if message.generation_id != app.consumer_generation_id:
            continue
        yield Record(
            Partition(message.topic, message.partition),
            message.offset,
            message.key,
            message.value,
            _headers(message.headers),
            None if message.timestamp is None else round(message.timestamp * 1000),
            message.generation_id,
        )


def _headers(headers: Any) -> Headers:
    """Headers as a tuple of pairs; Kafka allows a null value, which is kept as empty."""
    pairs = headers.items() if isinstance(headers, dict) else headers or ()
    return tuple((name, value or b"") for name, value in pairs)
