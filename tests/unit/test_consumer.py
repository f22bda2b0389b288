"""The guarded consumer: each of Faust's dangerous habits, and the rule that replaces it.

Every test here fails when its guard is removed from services/reading/consumer.py.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace

import faust
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from stream_app.core.messages import Mark, Partition, Record
from stream_app.core.settings import Settings
from stream_app.pipeline.ack import AckTracker
from stream_app.services.history.marks import Marks
from stream_app.services.history.parting import Parted
from stream_app.services.history.report import Places
from stream_app.services.reading.commit import commit_now
from stream_app.services.reading.consumer import (
    METADATA_MS,
    NEVER,
    GuardedConsumer,
    guarded_app,
)
from stream_app.services.reading.consumer_thread import FETCH_WAIT_MS, Guards
from stream_app.services.reading.records import records

P0 = Partition("mail", 0)
TP0 = TP("mail", 0)
Seeks = asyncio.Queue[asyncio.Event]
ROUTE = {
    "name": "mail",
    "format": "rfc822",
    "model": "builtin:spam",
    "input_topic": "mail",
    "output_topic": "mail.labels",
}


class Events:
    """What the consumer told the worker, in order."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def settle(self) -> None:
        self.seen.append("settle")

    def revoked(self) -> None:
        self.seen.append("revoked")

    def parted(self, parted: Parted) -> None:
        self.seen.append(f"parted at {parted.to}")

    def moved(self, committed: Places) -> None:
        self.seen += [f"committed {at.offset} {at.metadata!r}" for at in committed.values()]

    def begun(self, ends: Places) -> None:
        self.seen += [f"begun at {end.offset}" for end in ends.values()]


def _fetched(offset: int, timestamp: int = 0) -> SimpleNamespace:
    """A record as aiokafka gives it."""
    return SimpleNamespace(
        topic="mail", partition=0, offset=offset, timestamp=timestamp, timestamp_type=0,
        headers=(), key=None, value=b"", checksum=None, serialized_key_size=0,
        serialized_value_size=0,
    )  # fmt: skip


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def acks() -> AckTracker:
    return AckTracker()


@pytest.fixture
async def app(acks: AckTracker, events: Events) -> faust.App:
    guards = Guards(acks, Marks(), events.settle, events.revoked, events)
    app = guarded_app(Settings(routes={"mail": ROUTE}), guards)
    app.finalize()
    return app


@pytest.fixture
def consumer(app: faust.App, monkeypatch: pytest.MonkeyPatch) -> GuardedConsumer:
    consumer = app.consumer
    assert isinstance(consumer, GuardedConsumer)
    monkeypatch.setattr(consumer, "assignment", lambda: {TP0})
    consumer._set_active_tps({TP0})
    return consumer


def test_only_the_trackers_positions_are_committed(consumer: GuardedConsumer, acks: AckTracker):
    first, second = Record(P0, 0, None, b""), Record(P0, 1, None, b"")
    acks.deliver(first)
    acks.deliver(second)
    # Faust acks what it skips around a rebalance; such an ack must move nothing
    consumer._acked[TP0].extend([0, 1])
    assert consumer._filter_committable_offsets([TP0]) == {}
    acks.done(first)
    assert consumer._filter_committable_offsets([TP0]) == {TP0: 1}


def test_a_gap_after_offset_zero_does_not_stop_commits(consumer: GuardedConsumer, acks: AckTracker):
    """Faust takes read offset 0 for "none", misses the gap, and never commits again."""
    first, second = Record(P0, 0, None, b""), Record(P0, 5, None, b"")
    for record in (first, second):
        acks.deliver(record)
        acks.done(record)
    consumer._committed_offset[TP0] = 1
    assert consumer._filter_committable_offsets([TP0]) == {TP0: 6}


async def test_gaps_cost_no_memory(consumer: GuardedConsumer):
    """Faust keeps an interval tree and expands it: a compacted topic would fill the memory."""
    await consumer._add_gap(TP0, 1, 10**9)
    assert not consumer._gap[TP0]


def test_commits_never_go_backwards(consumer: GuardedConsumer, acks: AckTracker):
    record = Record(P0, 3, None, b"")
    acks.deliver(record)
    acks.done(record)
    consumer._committed_offset[TP0] = 9
    assert consumer._filter_committable_offsets([TP0]) == {}


async def test_revocation_settles_and_commits_before_faust_forgets(
    consumer: GuardedConsumer, acks: AckTracker, events: Events, monkeypatch: pytest.MonkeyPatch
):
    committed: list[dict[TP, int]] = []

    async def commit(offsets: dict[TP, int]) -> bool:
        events.seen.append("commit")
        committed.append(dict(offsets))
        return True

    async def flush() -> None:
        """Faust flushes its own producer, which we do not use."""

    async def faust_revokes(revoked: set[TP]) -> None:
        events.seen.append("faust")

    monkeypatch.setattr(consumer, "_commit", commit)
    monkeypatch.setattr(consumer.app.producer, "flush", flush)
    monkeypatch.setattr(consumer, "_on_partitions_revoked", faust_revokes)
    record = Record(P0, 0, None, b"")
    acks.deliver(record)
    acks.done(record)
    await consumer.on_partitions_revoked({TP0})
    assert committed == [{TP0: 1}]
    assert events.seen == ["settle", "commit", "revoked", "faust"]
    assert not consumer.flow_active, "nothing may be delivered meanwhile"


async def test_a_paused_partition_still_delivers_what_was_fetched(
    consumer: GuardedConsumer, monkeypatch: pytest.MonkeyPatch
):
    """`pause_partitions` drops the rest of a fetch in silence, and the offset moves past it."""
    fetched = [_fetched(offset) for offset in range(4)]

    async def getmany(active_partitions: set[TP], timeout: float) -> dict[TP, list[object]]:
        return {TP0: fetched}

    monkeypatch.setattr(consumer, "_getmany", getmany)
    monkeypatch.setattr(consumer, "highwater", lambda tp: 4)
    consumer.resume_flow()
    offsets = []
    async for _, message in consumer.getmany(timeout=1.0):
        offsets.append(message.offset)
        consumer.pause(P0)
    assert offsets == [0, 1, 2, 3]
    assert TP0 not in consumer._get_active_partitions()
    consumer.resume(P0)
    assert TP0 in consumer._get_active_partitions()


async def test_a_resume_wakes_a_consumer_with_nothing_to_fetch(
    consumer: GuardedConsumer, monkeypatch: pytest.MonkeyPatch
):
    fetches: list[set[TP]] = []

    async def getmany(active_partitions: set[TP], timeout: float) -> dict[TP, list[object]]:
        fetches.append(set(active_partitions))
        return {}

    monkeypatch.setattr(consumer, "_getmany", getmany)
    consumer.resume_flow()
    consumer.pause(P0)
    waiting = asyncio.ensure_future(consumer._wait_next_records(1.0))
    await asyncio.sleep(0)
    assert not fetches
    consumer.resume(P0)
    await waiting
    assert fetches == [{TP0}]


async def test_events_of_an_earlier_reading_are_left_out(consumer: GuardedConsumer):
    class Stream:
        def noack(self) -> "Stream":
            return self

        async def events(self):
            for offset in range(4):
                if offset == 2:
                    consumer.stop_flow()
                fetched = _fetched(offset, timestamp=1500)
                event = SimpleNamespace(message=consumer._to_message(TP0, fetched))
                if offset == 1:
                    consumer.stop_flow()
                yield event

    found = [record async for record in records(Stream(), consumer, Marks())]
    assert [record.offset for record in found] == [0, 2, 3]
    assert found[0].timestamp == 1500


@pytest.fixture
def seeks(consumer: GuardedConsumer, monkeypatch: pytest.MonkeyPatch) -> Seeks:
    """Each seek that begins is here, and waits for its event."""
    begun: Seeks = asyncio.Queue()

    async def resume(first: object) -> dict[TP, int | None]:
        done = asyncio.Event()
        begun.put_nowait(done)
        await done.wait()
        return {TP0: 0}

    async def nothing(*_: object) -> None: ...

    monkeypatch.setattr(consumer._thread, "resume", resume)
    monkeypatch.setattr(consumer, "_on_partitions_revoked", nothing)
    monkeypatch.setattr(consumer, "_on_partitions_assigned", nothing)
    return begun


async def _seeking(consumer: GuardedConsumer, seeks: Seeks) -> Callable[[], Awaitable[None]]:
    """A seek that has begun; what ends it."""
    seek = asyncio.create_task(consumer.seek_to_committed())
    done = await seeks.get()

    async def end() -> None:
        done.set()
        await seek

    return end


async def test_a_recovery_that_the_next_rebalance_overtook_lets_nothing_flow(
    consumer: GuardedConsumer, seeks: Seeks
):
    """Records flowed in the midst of a rebalance: one was left out, those behind it were not."""
    await consumer.on_partitions_revoked({TP0})
    await consumer.on_partitions_assigned({TP0}, 1)
    end_overtaken = await _seeking(consumer, seeks)
    await consumer.on_partitions_revoked({TP0})
    await end_overtaken()
    consumer.resume_flow()
    assert not consumer.flow_active
    await consumer.on_partitions_assigned({TP0}, 2)
    consumer.resume_flow()
    assert not consumer.flow_active, "nothing is sought yet"
    end_newest = await _seeking(consumer, seeks)
    await end_newest()
    assert consumer.flow_active


@pytest.mark.parametrize("first", [0, 1])
async def test_two_seeks_at_once_begin_to_read_when_both_are_done(
    consumer: GuardedConsumer, acks: AckTracker, seeks: Seeks, first: int
):
    """Faust seeks for a recovery, and again where it dropped what it fetched meanwhile."""
    await consumer.on_partitions_revoked({TP0})
    await consumer.on_partitions_assigned({TP0}, 1)
    ends = [await _seeking(consumer, seeks), await _seeking(consumer, seeks)]
    acks.deliver(Record(P0, 1, None, b""))  # 0 was left out
    await ends[first]()
    consumer.resume_flow()
    assert not consumer.flow_active
    await ends[1 - first]()
    assert consumer.flow_active
    assert acks.deliver(Record(P0, 0, None, b"")), "it comes again, and counts"


async def test_a_seek_of_before_the_assignment_does_not_stop_the_flow_for_good(
    consumer: GuardedConsumer, seeks: Seeks
):
    await consumer.on_partitions_revoked({TP0})
    end_early = await _seeking(consumer, seeks)
    await consumer.on_partitions_assigned({TP0}, 1)
    end_recovery = await _seeking(consumer, seeks)
    await end_recovery()
    consumer.resume_flow()
    assert not consumer.flow_active
    await end_early()
    assert consumer.flow_active


def test_every_unsafe_default_of_faust_is_set(app: faust.App):
    conf = app.conf
    assert conf.broker_max_poll_interval == NEVER, "a standby would leave the group for good"
    assert conf.stream_wait_empty is False, "a rebalance would wait for a batch"
    assert conf.broker_session_timeout == 10.0
    assert conf.broker_heartbeat_interval == 2.0
    assert conf.topic_allow_declare is False
    assert conf.topic_disable_leader is True
    assert conf.topic_replication_factor == 1
    assert conf.consumer_auto_offset_reset == "earliest"
    assert conf.stream_buffer_maxsize > 10 * conf.broker_max_poll_records, "never fills"
    assert conf.processing_guarantee.name == "AT_LEAST_ONCE"
    assert conf.web_enabled is False


async def test_a_fetch_is_not_held_for_long(consumer: GuardedConsumer):
    """1.5 s, Faust's constant, is what a record may wait behind a fetch of other partitions."""
    made = consumer._thread._create_worker_consumer(consumer.transport)
    assert made._fetch_max_wait_ms == FETCH_WAIT_MS


async def test_the_end_of_a_partition_is_no_lag(
    consumer: GuardedConsumer, acks: AckTracker, monkeypatch: pytest.MonkeyPatch
):
    """Behind the last record there may be a transaction's marker, or all was deleted long ago."""

    async def position(tp: TP) -> int:
        return 9

    monkeypatch.setattr(consumer, "position", position)
    assert await consumer.reached(P0) == 9
    consumer._handed[TP0] = 6
    assert await consumer.reached(P0) == 6, "given to the stream, not delivered: maybe stuck"
    record = Record(P0, 6, None, b"")
    acks.deliver(record)
    assert await consumer.reached(P0) == 6
    acks.done(record)
    assert await consumer.reached(P0) == 9


async def test_what_is_dropped_without_a_committed_offset_is_fetched_again(
    consumer: GuardedConsumer, monkeypatch: pytest.MonkeyPatch
):
    """A fetch that straddles a rebalance is dropped; aiokafka rewinds only where it committed."""
    sought: list[dict[TP, int]] = []

    async def getmany(active_partitions: set[TP], timeout: float) -> dict[TP, list[object]]:
        consumer.stop_flow()
        return {TP0: [SimpleNamespace(offset=offset) for offset in range(20)]}

    async def resume(first: dict[TP, tuple[int, Mark]]) -> dict[TP, None]:
        sought.append({tp: offset for tp, (offset, _) in first.items()})
        return {TP0: None}

    monkeypatch.setattr(consumer, "_getmany", getmany)
    monkeypatch.setattr(consumer._thread, "resume", resume)
    consumer.resume_flow()
    assert [offset async for offset in consumer.getmany(timeout=1.0)] == []
    assert sought == [{TP0: 0}]


async def test_a_commit_includes_what_was_acked_during_another(
    consumer: GuardedConsumer, acks: AckTracker, monkeypatch: pytest.MonkeyPatch
):
    committed: list[dict[TP, int]] = []
    first_runs, go_on = asyncio.Event(), asyncio.Event()

    async def commit(offsets: dict[TP, int]) -> bool:
        committed.append(dict(offsets))
        first_runs.set()
        await go_on.wait()
        return True

    async def flush() -> None:
        """Faust flushes its own producer, which we do not use."""

    monkeypatch.setattr(consumer, "_commit", commit)
    monkeypatch.setattr(consumer.app.producer, "flush", flush)
    both = [Record(P0, offset, None, b"") for offset in (0, 1)]
    for record in both:
        acks.deliver(record)
    acks.done(both[0])
    periodic = asyncio.ensure_future(consumer.commit())
    await first_runs.wait()
    acks.done(both[1])
    last = asyncio.ensure_future(consumer.commit())
    go_on.set()
    await asyncio.gather(periodic, last)
    assert committed == [{TP0: 1}, {TP0: 2}]


async def test_a_commit_that_failed_is_tried_again(
    consumer: GuardedConsumer, acks: AckTracker, monkeypatch: pytest.MonkeyPatch
):
    """Late, after a rebalance, it would hide every position below its own."""
    committed: list[dict[TP, int]] = []

    async def commit(offsets: dict[TP, int]) -> bool:
        committed.append(dict(offsets))
        return len(committed) > 1

    async def flush() -> None:
        """Faust flushes its own producer, which we do not use."""

    monkeypatch.setattr(consumer, "_commit", commit)
    monkeypatch.setattr(consumer.app.producer, "flush", flush)
    record = Record(P0, 0, None, b"")
    acks.deliver(record)
    acks.done(record)
    assert [await consumer.commit() for _ in range(3)] == [False, True, False]
    assert committed == [{TP0: 1}, {TP0: 1}]


async def test_a_recovery_waits_for_its_seek_and_a_request_does_not(consumer: GuardedConsumer):
    """Faust's recovery ends in silence after a request's timeout, and no record flows again."""
    assert consumer.app.conf.broker_request_timeout == NEVER
    made = consumer._thread._create_worker_consumer(consumer.transport)
    assert made._request_timeout_ms == made._client._request_timeout_ms == 20_000


async def test_a_group_without_partitions_asks_for_them_again_soon(consumer: GuardedConsumer):
    """Formed while the broker starts it has none, until it hears of them: by default in 5 min."""
    made = consumer._thread._create_worker_consumer(consumer.transport)
    assert made._client._metadata_max_age_ms == METADATA_MS < 10_000


async def test_partitions_are_dropped_even_where_the_last_commit_fails(
    consumer: GuardedConsumer, events: Events, monkeypatch: pytest.MonkeyPatch
):
    async def commit(*_: object) -> bool:
        raise RuntimeError("no broker")

    monkeypatch.setattr(consumer, "commit", commit)
    with pytest.raises(RuntimeError):
        await consumer.on_partitions_revoked({TP0})
    assert events.seen == ["settle", "revoked"]


def test_offsets_that_travel_with_their_labels_are_not_committed_here(
    consumer: GuardedConsumer, acks: AckTracker
):
    record = Record(P0, 0, None, b"")
    acks.deliver(record)
    acks.done(record)
    consumer._guards = replace(consumer._guards, transactional=frozenset({"mail"}))
    assert consumer._filter_committable_offsets([TP0]) == {}


@pytest.mark.parametrize("by_then", [-1, 6], ids=["expelled", "joined again"])
async def test_a_commit_is_not_sent_again_by_another_member(
    by_then: int,
):
    """An empty group takes a commit of nobody: it went back to where a worker was when cut off."""
    asked: list[int] = []

    async def fails(assignment: object, offsets: object) -> None:
        asked.append(coordinator.generation)
        coordinator.generation = by_then
        raise KafkaConnectionError

    async def known() -> None: ...

    coordinator = SimpleNamespace(
        generation=5,
        ensure_coordinator_known=known,
        _commit_lock=asyncio.Lock(),
        _do_commit_offsets=fails,
    )
    subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=None))
    client = SimpleNamespace(_coordinator=coordinator, _subscription=subscription)
    assert not await commit_now(client, {})
    assert asked == [5]


async def test_a_log_that_went_back_is_not_sought_under_the_assignment_that_read_it(
    consumer: GuardedConsumer, events: Events, monkeypatch: pytest.MonkeyPatch
):
    """What is acked of the log before was committed as of the new one, whose records it skipped."""
    done: list[str] = []
    client = SimpleNamespace(
        pause=lambda tp: done.append("pause"),
        seek=lambda tp, offset: done.append(f"seek {offset}"),
        _coordinator=SimpleNamespace(request_rejoin=lambda: done.append("rejoin")),
    )
    thread, marks = consumer._thread, consumer._guards.marks
    monkeypatch.setattr(thread, "_ensure_consumer", lambda: client)

    async def parted(*_: object) -> Parted:
        return Parted(P0, 230, 94, True, 0)

    logs = SimpleNamespace(parted=parted)
    monkeypatch.setattr(thread, "_logs", logs, raising=False)
    assignments = [SimpleNamespace(active=True) for _ in range(2)]
    marks.start(assignments[0])
    marks.begin(P0, Mark("old", 0))
    assert await thread._place(assignments[0], P0, (180, Mark("old", 0)), None) is None
    assert done == ["pause", "rejoin"]
    marks.start(assignments[1])
    assert await thread._place(assignments[1], P0, (230, Mark("old", 0)), None) == 94
    assert done == ["pause", "rejoin", "seek 94"]
    assert events.seen == ["parted at 94"], "it is said once"


async def test_where_reading_goes_on_is_told(
    consumer: GuardedConsumer, events: Events, monkeypatch: pytest.MonkeyPatch
):
    """An administrator may have moved the group over records that have no label."""
    tps = [TopicPartition("mail", number) for number in range(2)]
    sought: dict[TopicPartition, int] = {}

    async def committed(_: object) -> Places:
        return {tps[0]: OffsetAndMetadata(7, "")}

    async def begin(*_: object) -> Places:
        return {tps[1]: OffsetAndMetadata(5, "winnow::")}

    async def nothing(*_: object) -> None: ...

    assignment = SimpleNamespace(active=True, tps=tps)
    client = SimpleNamespace(
        _subscription=SimpleNamespace(subscription=SimpleNamespace(assignment=assignment)),
        _coordinator=SimpleNamespace(fetch_committed_offsets=committed),
        seek=sought.__setitem__,
    )
    thread = consumer._thread
    monkeypatch.setattr(thread, "_ensure_consumer", lambda: client)
    logs = SimpleNamespace(topics=nothing, parted=nothing)
    monkeypatch.setattr(thread, "_logs", logs, raising=False)
    monkeypatch.setattr(thread, "_begin", begin)
    assert await thread._resume({}) == {TP("mail", 0): 7, TP("mail", 1): 5}
    assert list(sought.values()) == [7, 5]
    assert events.seen == ["committed 7 ''", "begun at 5"]


async def test_a_partition_without_an_offset_is_read_from_its_start(
    consumer: GuardedConsumer, monkeypatch: pytest.MonkeyPatch
):
    """aiokafka may have asked for one just before the broker forgot it, with the topic that it
    deleted: it would read the new one from there."""
    sought: list[int] = []
    client = SimpleNamespace(seek=lambda _, offset: sought.append(offset))
    thread, assignment = consumer._thread, SimpleNamespace(active=True)

    async def start(*_: object) -> int:
        return 3

    monkeypatch.setattr(thread, "_ensure_consumer", lambda: client)
    monkeypatch.setattr(thread, "_logs", SimpleNamespace(start=start), raising=False)
    assert await thread._place(assignment, P0, None, None) == 3
    assert sought == [3]
