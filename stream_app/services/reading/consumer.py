"""The guarded consumer: Faust's, with our own rules where Faust's lose records.

What Faust 0.15.3 does, and what is done instead (docs/adr/0001-own-the-offsets.md):

- It commits what its own bookkeeping calls acked, which counts records it skipped around a
  rebalance, and can jump over a gap. Here only the ack tracker's positions are committed.
- It forgets acked offsets on revocation before they can be committed. Here deliveries under way
  are awaited (bounded), committed, and only then is the revocation passed on.
- `pause_partitions` silently drops what was fetched already. Here a partition is paused as Faust's
  own buffers do it, which still delivers what is in hand.
- With every partition paused it sleeps a second. Here a resume wakes it.
- aiokafka rewinds no partition that has no committed offset, so what Faust drops while the flow is
  stopped would be skipped for good. Here such a partition goes back to the first offset fetched.
- A commit that finds another under way only waits for that one. Here it commits as well.
- A commit whose connection broke it sends again as whoever it is by then. Here it is given up: an
  expelled member would take an empty group back to where it was itself.
- A commit that failed it counts as done, and compares the next one with it. Here it is forgotten.
- A recovery that the next rebalance overtook lets records flow in the midst of that one. A record
  that Faust then leaves out is behind others that are taken, and counted as delivered when it is
  sought again. Here nothing flows before all is sought, and with each seek reading begins anew.
- A seek slower than a request's timeout ends its recovery silently, and no record flows
  again. Here the recovery waits, as it must when the broker goes away in a rebalance.
- It waits, silent and without end, where the group refuses it in a rebalance. Here the worker ends.
- A partition without a committed offset begins by `auto_offset_reset`, again and again: with
  `latest` it skips what came meanwhile. Here a group begins once (history/beginning.py).
- An offset out of range it answers with `auto_offset_reset`, without a word, and a log that went
  back it does not notice. Here every fetch and every assignment is checked (history/).
- It lets the broker hold a fetch for 1.5 s. A partition whose records were just taken is not part
  of the fetch under way, so its next record waits for that one to return: here 50 ms at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.errors import TopicAuthorizationFailedError
from faust import App, SASLCredentials, SSLCredentials
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from faust.types.auth import CredentialsT
from yarl import URL

from stream_app.core.messages import Mark, Partition
from stream_app.core.settings import KafkaClientSettings, Settings
from stream_app.services.reading.consumer_thread import GuardedThread, Guards

NEVER = 100_000_000.0  # seconds; Faust takes 0 literally
POLL_INTERVAL = NEVER  # a consumer that polls less often leaves its group, and never comes back
METADATA_MS = 5000  # a broker that has just come back may know no partition yet: ask again soon
POLL_WHILE_PAUSED = 0.1  # seconds; a resumed partition joins at the next poll


class GuardedConsumer(driver.Consumer):
    """Faust's consumer with the rules of this module's text."""

    _thread: GuardedThread

    def __init__(self, *args: Any, guards: Guards, **kwargs: Any) -> None:
        self._guards = guards
        self._resumed = asyncio.Event()
        self._first: dict[TP, tuple[int, Mark]] = {}  # lowest offset ever fetched here
        self._handed: dict[TP, int] = {}  # last offset given to the stream
        self.reading = 0  # how often reading has ended or begun: what was handed out before is void
        self._share: object | None = None  # of the group, by identity; None during a rebalance
        self._seeking = 0  # seeks under way
        self._sought = self._recovered = False  # what the flow of records waits for
        self.joined = False  # whether this member has its assignment, which may be empty
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return GuardedThread(self, loop=self.loop, beacon=self.beacon, guards=self._guards)

    def pause(self, partition: Partition) -> None:
        """Fetch no more of this partition; what is fetched already is still delivered."""
        self.on_buffer_full(TP(*partition))

    def resume(self, partition: Partition) -> None:
        """Fetch this partition again, at once."""
        self.on_buffer_drop(TP(*partition))
        self._resumed.set()

    async def reached(self, partition: Partition) -> int:
        """The first offset of the partition that still has to be labelled.

        With nothing in flight that is the fetch position: a committed offset stays behind the
        markers of transactions, and behind what retention deleted.
        """
        acks, tp = self._guards.acks, TP(*partition)
        oldest = acks.oldest().get(partition)
        if oldest is not None:
            return oldest.offset
        handed = self._handed.get(tp, -1)
        if handed > acks.delivered(partition):
            return handed  # between Faust and us: if it stays there, the stream is stuck
        return await self.position(tp) or 0

    async def look(self) -> None:
        """See GuardedThread.look. A topic that may not be read any more ends the worker: the group
        would go on without its partitions, healthy and silent."""
        if refused := await self._thread.look():
            await self.crash(TopicAuthorizationFailedError(*sorted(refused)))

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        self._handed[tp] = record.offset
        message = super()._to_message(tp, record)
        message.reading = self.reading  # type: ignore[attr-defined]  # see `records`
        return message

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish deliveries under way and commit, before Faust forgets; drop other records.

        A rebalance takes every partition away (the protocol is the eager one), and gives some back.
        """
        self.joined, self._share, self._recovered = False, None, False
        self.stop_flow()
        try:
            await self._guards.settle()
            await self.commit()
        finally:
            self._buffered_partitions.clear()
            self._handed.clear()
            self._guards.revoked()
        await self._thread.before_rebalance()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Faust's, and from then on this member is ready: a standby's share may be empty."""
        self._share = object()
        await super().on_partitions_assigned(assigned, generation_id)
        self.joined = True

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit the current positions; a commit already under way does not have them."""
        await self.maybe_wait_for_commit_to_finish()
        done: bool = await super().commit(topics, start_new_transaction)
        return done

    async def seek_to_committed(self) -> Mapping[TP, int | None]:  # type: ignore[override]
        """Back to the committed offsets; without one, to the first that was fetched here.

        Where the log is not the one that was read, to where the two part. Faust also seeks beside a
        recovery, when it has dropped what it fetched: the flow waits for the last of them.
        """
        share = self._share
        self.stop_flow()
        self._seeking += 1
        try:
            found = await self._thread.resume(dict(self._first))
            if share is not None and share is self._share:
                self._guards.acks.forget()  # what was delivered before comes again
                self._sought = True
            return found
        finally:
            self._seeking -= 1
            self._flow()

    def stop_flow(self) -> None:
        """Faust's; what was handed out until now is void, and all is to be sought again."""
        self.reading += 1
        self._sought = False
        super().stop_flow()

    def resume_flow(self) -> None:
        """A recovery is over, perhaps not the newest one."""
        self._recovered = True
        self._flow()

    def _flow(self) -> None:
        if self._recovered and self._sought and not self._seeking:
            super().resume_flow()

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        """What may be committed: the ack tracker's positions that moved, nothing else."""
        del tps
        positions = {
            TP(*partition): offset
            for partition, offset in self._guards.acks.positions().items()
            if partition.topic not in self._guards.transactional
        }
        return {tp: o for tp, o in positions.items() if o > (self._committed_offset[tp] or 0)}

    async def _commit_offsets(
        self, offsets: Mapping[TP, int], start_new_transaction: bool = True
    ) -> bool:
        """Faust's, which counts a commit that failed as done."""
        done: bool = await super()._commit_offsets(offsets, start_new_transaction)
        if not done:
            for tp in offsets:
                self._committed_offset.pop(tp, None)
        return done

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Gaps need no bookkeeping: positions follow delivery order."""

    async def _wait_next_records(self, timeout: float) -> Any:
        if self._buffered_partitions:
            timeout = min(timeout, POLL_WHILE_PAUSED)
            if self.flow_active and not self._get_active_partitions():
                self._resumed.clear()
                await self.wait_first(self._resumed.wait(), self.suspend_flow.wait())
        fetched, active = await super()._wait_next_records(timeout)
        for tp, batch in (fetched or {}).items():
            offset = batch[0].offset
            mark = self._guards.marks.at(Partition(*tp), offset)
            known = self._first.get(tp)
            another = known is not None and mark.topic_id not in (None, known[1].topic_id)
            if known is None or offset < known[0] or another:
                self._first[tp] = offset, mark
        return fetched, active


class GuardedTransport(driver.Transport):
    """Faust's aiokafka transport with the guarded consumer."""

    def __init__(self, url: list[URL], app: App, guards: Guards) -> None:
        super().__init__(url, app)
        self._guards = guards

    def create_consumer(self, callback: Any, **kwargs: Any) -> GuardedConsumer:
        """The consumer, with its guards."""
        return GuardedConsumer(self, callback=callback, guards=self._guards, **kwargs)


def _credentials(kafka: KafkaClientSettings) -> CredentialsT | None:
    """The credentials in Faust's form, which it turns into aiokafka's arguments."""
    arguments = kafka.client_arguments()
    context = arguments.get("ssl_context")
    if kafka.uses_sasl:
        return SASLCredentials(
            username=arguments["sasl_plain_username"],
            password=arguments["sasl_plain_password"],
            mechanism=arguments["sasl_mechanism"],
            ssl_context=context,
        )
    return SSLCredentials(context) if context else None


class DisklessApp(App):
    """Faust without the folders that it makes for tables: Winnow has none, and writes nothing."""

    def _create_directories(self) -> None:
        """No folder."""


def guarded_app(settings: Settings, guards: Guards) -> App:
    """Faust with the guarded consumer, and every default that matters set explicitly."""
    kafka = settings.kafka
    app = DisklessApp(
        kafka.group_id,
        broker=f"kafka://{kafka.bootstrap_servers.replace(',', ';')}",
        broker_credentials=_credentials(kafka),
        store="memory://",
        table_standby_replicas=0,  # else partitions are dealt out by a protocol of Faust's own
        web_enabled=False,
        autodiscover=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=settings.topics.partitions,
        topic_replication_factor=settings.topics.replication_factor,
        consumer_auto_offset_reset="earliest",  # the other choice is `Beginning`'s
        broker_session_timeout=kafka.session_timeout_seconds,
        broker_heartbeat_interval=kafka.heartbeat_interval_seconds,
        broker_rebalance_timeout=kafka.session_timeout_seconds,
        broker_request_timeout=NEVER,  # a recovery's; see _ConsumerThread for a request's
        broker_commit_interval=kafka.commit_interval_seconds,
        broker_commit_every=1_000_000_000,
        broker_commit_livelock_soft_timeout=NEVER,
        broker_max_poll_interval=POLL_INTERVAL,
        broker_max_poll_records=256,
        consumer_metadata_max_age_ms=METADATA_MS,
        stream_wait_empty=False,
        stream_buffer_maxsize=65536,  # our own admission pauses long before
        stream_publish_on_commit=False,
        stream_processing_timeout=NEVER,
        producer_acks=-1,
    )
    app.transport = GuardedTransport(app.conf.broker_consumer, app, guards)
    return app
