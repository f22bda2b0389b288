"""The data path with a fake engine and a fake producer: order, bounds, dead letters, isolation."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from stream_app.core.errors import EngineSick
from stream_app.core.messages import Message, ParseSpec, Partition, Record
from stream_app.engine.fake import FakeEngine
from stream_app.pipeline.ack import AckTracker
from stream_app.pipeline.parse import Parse
from stream_app.pipeline.work import Past
from tests.fake_route import CARD, PARTITIONS, Held, Words, labels, make_route, run, texts


async def test_every_record_is_labelled_once_in_input_order():
    acks = AckTracker()
    route = make_route(acks, FakeEngine(CARD.labels))
    records = texts(500)
    await run(route, records, lambda: len(route.publisher.out) == 500)
    found = labels(route)
    assert len({label.id for label in found}) == 500
    for partition in PARTITIONS:
        offsets = [x.source.offset for x in found if x.source.partition == partition.number]
        assert offsets == sorted(offsets)
    assert acks.positions() == {PARTITIONS[0]: 167, PARTITIONS[1]: 167, PARTITIONS[2]: 166}
    assert route.in_flight.records == route.in_flight.bytes == 0
    assert {o.key for o in route.publisher.out} == {r.key for r in records}


async def test_two_batches_on_the_device_leave_in_the_order_they_came():
    acks = AckTracker()
    second, calls = threading.Event(), iter(range(1000))

    def before(batch: Sequence[Sequence[int]]) -> None:
        if next(calls) == 0:
            assert second.wait(30), "the second batch is to begin while the first is under way"
        else:
            second.set()

    engine = FakeEngine(CARD.labels, before, at_once=2)
    route = make_route(acks, engine, max_batch_records=8)
    records = texts(60)
    await run(route, records, lambda: len(route.publisher.out) == 60)
    assert [o.key for o in route.publisher.out] == [r.key for r in records]
    assert acks.positions() == dict.fromkeys(PARTITIONS, 20)


@pytest.mark.parametrize(("engines", "own", "largest"), [(64, 0, 64), (1000, 0, 200), (1000, 9, 9)])
async def test_where_a_route_names_no_number_of_records_its_engine_does(
    engines: int, own: int, largest: int
):
    """On a GPU the tokens are to close a batch, not 64 records."""
    encoded, batches = threading.Semaphore(0), []

    class Counted(Words):
        def encode(self, texts: Sequence[str]) -> list[list[int]]:
            encoded.release(len(texts))
            return super().encode(texts)

    def before(batch: Sequence[Sequence[int]]) -> None:
        if not batches:
            assert all(encoded.acquire(timeout=30) for _ in records), "the first waits for all"
        batches.append((len(batch), sum(map(len, batch))))

    engine = FakeEngine(CARD.labels, before)
    engine.batch_records = engines
    route = make_route(AckTracker(), engine, max_batch_records=own)
    route.models.champion.encoder._tokenizer = Counted()
    records = [replace(record, value=b"word " * 20) for record in texts(500)]
    await run(route, records, lambda: len(route.publisher.out) == 500)
    assert max(records for records, _ in batches) <= min(engines, own or engines)
    assert max(records for records, _ in batches) >= largest
    assert max(tokens for _, tokens in batches) <= route.models.champion.batch_tokens


async def test_a_null_an_empty_and_an_oversize_record_get_their_reasons_in_order():
    acks = AckTracker()
    route = make_route(acks, FakeEngine(CARD.labels))
    p = PARTITIONS[0]
    records = [
        Record(p, 0, None, b"fine words"),
        Record(p, 1, b"key", None, (("traceparent", b"00-1"),)),
        Record(p, 2, None, b""),
        Record(p, 3, None, b"x" * 1001),
        Record(p, 4, None, b"fine again"),
    ]
    await run(route, records, lambda: acks.positions() == {p: 5})
    out = [(o.topic, dict(o.headers).get("winnow-error")) for o in route.publisher.out]
    assert out == [
        ("out", None),
        ("in.dlq", b"null_value"),
        ("in.dlq", b"no_text"),
        ("in.dlq", b"too_large"),
        ("out", None),
    ]
    null = route.publisher.out[1]
    assert (null.key, null.value) == (b"key", None)
    assert dict(null.headers)["traceparent"] == b"00-1"


async def test_a_bug_in_a_codec_is_a_dead_letter_not_a_crash():
    acks = AckTracker()
    route = make_route(acks, FakeEngine(CARD.labels))

    def broken(value: bytes, spec: ParseSpec) -> Message:
        raise ZeroDivisionError("secret text")

    route.route = replace(route.route, parse=Parse(broken, route.settings, route.metrics))
    await run(route, texts(3), lambda: len(route.publisher.out) == 3)
    reasons = {dict(o.headers)["winnow-reason"] for o in route.publisher.out}
    assert reasons == {b"the codec failed with ZeroDivisionError: please report it"}


async def test_nothing_heavy_runs_on_the_event_loop():
    seen: set[str] = set()

    def before(batch: Sequence[Sequence[int]]) -> None:
        seen.add(threading.current_thread().name)

    route = make_route(AckTracker(), FakeEngine(CARD.labels, before))

    def codec(value: bytes, spec: ParseSpec) -> Message:
        seen.add(threading.current_thread().name)
        return Message(body="words")

    route.route = replace(route.route, parse=Parse(codec, route.settings, route.metrics))
    await run(route, texts(9), lambda: len(route.publisher.out) == 9)
    assert seen == {"r-host_0", "r-device_0"}
    assert route.models.champion.encoder._tokenizer.threads == {"r-host_0"}


async def test_consumption_pauses_when_publishing_stalls_and_goes_on_after():
    acks = AckTracker()
    route = make_route(acks, FakeEngine(CARD.labels), max_in_flight_records=10)
    valve = route.in_flight._valve()
    route.publisher.open.clear()
    records = texts(90)
    paused_at: list[int] = []

    async def stream() -> AsyncIterator[Record]:
        for record in records:
            while record.partition in valve.paused:
                if route.in_flight.records not in paused_at:
                    paused_at.append(route.in_flight.records)
                route.publisher.open.set()
                await valve.moved.wait()
                valve.moved.clear()
            yield record
        await asyncio.Event().wait()

    await run(route, stream(), lambda: len(route.publisher.out) == 90)
    assert paused_at
    assert max(paused_at) <= 10 + 2, "at most what each partition had in hand"
    assert len(labels(route)) == 90


async def test_a_stuck_route_does_not_delay_another():
    release = threading.Event()
    acks = AckTracker()
    stuck = make_route(acks, FakeEngine(CARD.labels, lambda batch: release.wait(60) and None))
    free = make_route(acks, FakeEngine(CARD.labels))
    other = [replace(r, partition=Partition("other", r.partition.number)) for r in texts(60)]
    waiting = asyncio.ensure_future(run(stuck, texts(60), lambda: len(stuck.publisher.out) == 60))
    await run(free, other, lambda: len(free.publisher.out) == 60)
    assert not stuck.publisher.out
    release.set()
    await waiting


async def test_revoked_works_are_neither_published_nor_acked():
    acks, held = AckTracker(), Held()
    route = make_route(acks, FakeEngine(CARD.labels, held))
    records = texts(30)
    revoking = asyncio.ensure_future(held.revoke(acks))
    await run(route, records, lambda: revoking.done() and route.in_flight.records == 0)
    assert route.publisher.out == []
    assert acks.positions() == {}


async def test_a_sick_engine_escapes_with_nothing_acked():
    def sick(batch: Sequence[Sequence[int]]) -> None:
        raise RuntimeError("device lost")

    acks = AckTracker()
    route = make_route(acks, FakeEngine(CARD.labels, sick))
    with pytest.raises(BaseExceptionGroup) as caught:
        await run(route, texts(30), lambda: False)
    assert caught.group_contains(EngineSick)
    assert acks.positions() == {}
    assert route.publisher.out == []


async def test_replayed_records_keep_their_id_and_headers_pass_through():
    route = make_route(AckTracker(), FakeEngine(CARD.labels), pass_fields=["mailbox"])
    route.letters["in.dlq/0/3"] = Past("mail/2/77", 1)
    headers = (
        ("winnow-origin-id", b"mail/2/78"),  # anybody can write that
        ("winnow-replay-of", b"in.dlq/0/3"),
        ("traceparent", b"00-abc"),
        ("mailbox", b"sales"),
        ("ce_id", b"theirs"),
    )
    record = Record(PARTITIONS[0], 5, None, b"some words", headers)
    await run(route, [record], lambda: len(route.publisher.out) == 1)
    out = route.publisher.out[0]
    label = json.loads(out.value or b"")
    assert label["id"] == "mail/2/77"
    assert label["source"]["fields"] == {"mailbox": "sales"}
    made_by = {"name": "m", "version": "7", "digest": "d", "problem": "single_label"}
    assert label["model"] == made_by
    assert [v for k, v in out.headers if k == "traceparent"] == [b"00-abc"]
    assert [v for k, v in out.headers if k == "ce_id"] == [b"mail/2/77"]
