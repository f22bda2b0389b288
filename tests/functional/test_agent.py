"""The data path with a fake engine and a fake producer: order, bounds, dead letters, isolation."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import partial

import pytest

from stream_app.agent import label_records
from stream_app.codecs import CODECS
from stream_app.core.errors import EngineSick
from stream_app.core.label_record import LabelRecord, ModelVersion
from stream_app.core.messages import Message, ParseSpec, Partition, Record
from stream_app.core.metrics import Metrics
from stream_app.core.route_settings import RouteSettings
from stream_app.engine.fake import FakeEngine
from stream_app.model.artifact import ModelCard
from stream_app.model.preparation import Preparation
from stream_app.pipeline.ack import AckTracker
from stream_app.pipeline.admit import InFlight
from stream_app.pipeline.classify import Classifier
from stream_app.pipeline.dead_letter import Outgoing
from stream_app.pipeline.encode import Encoder
from stream_app.pipeline.models import Models, place
from stream_app.pipeline.parse import Parser
from stream_app.pipeline.route import Route, new_threads
from stream_app.pipeline.served import ServedModel
from stream_app.pipeline.shadow import Shadow

CARD = ModelCard(name="m", version="7", labels=("ham", "spam"))
PARTITIONS = [Partition("in", number) for number in range(3)]


class Words:
    """A tokenizer: a token a word."""

    def __init__(self) -> None:
        self.threads: set[str] = set()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        self.threads.add(threading.current_thread().name)
        return [[len(word) for word in text.split()] for text in texts]


class Outbox:
    """A publisher that keeps what it is given, and can be held up."""

    def __init__(self) -> None:
        self.out: list[Outgoing] = []
        self.open = asyncio.Event()
        self.open.set()

    async def publish(self, batch: Sequence[Outgoing], wanted: Callable[[], bool]) -> bool:
        await self.open.wait()
        if not wanted():
            return False
        self.out += batch
        return True


class Comparison:
    """A sender of shadow records that keeps them, or fails."""

    def __init__(self) -> None:
        self.out: list[Outgoing] = []
        self.error: BaseException | None = None

    async def send(self, batch: Sequence[Outgoing]) -> list[BaseException | None]:
        self.out += batch
        return [self.error] * len(batch)

    def forget(self) -> None: ...

    async def close(self) -> None: ...


class Valve:
    """Partitions paused; `moved` is set whenever a record leaves or the flow changes."""

    def __init__(self) -> None:
        self.paused: set[Partition] = set()
        self.moved = asyncio.Event()

    def pause(self, partition: Partition) -> None:
        self.paused.add(partition)

    def resume(self, partition: Partition) -> None:
        self.paused.discard(partition)


class Watched(InFlight):
    def leave(self, record: Record) -> None:
        super().leave(record)
        self._valve().moved.set()


def served(engine: FakeEngine, min_confidence: float = 0.0, version: str = "7") -> ServedModel:
    return ServedModel(
        ModelVersion(name=CARD.name, version=version, digest="d"),
        4096,
        Encoder(Words(), Preparation()),
        engine,
        Classifier(engine, CARD, min_confidence, [1], lambda _: None),
    )


def make_route(acks: AckTracker, engine: FakeEngine, **overrides: object) -> Route:
    settings = RouteSettings(
        name="r", format="text", model="m", input_topic="in", output_topic="out", **overrides
    )
    metrics, valve, threads = Metrics(), Valve(), new_threads("r")
    models = Models(
        served(engine, settings.min_confidence),
        lambda model: model.engine.close(),
        settings.canary_share,
    )
    in_flight = Watched(
        settings.max_in_flight_records,
        settings.max_in_flight_bytes,
        lambda: valve,
        metrics.in_flight_records.labels("r"),
        metrics.in_flight_bytes.labels("r"),
    )
    comparison = Comparison()
    return Route(
        settings=settings,
        models=models,
        parser=Parser(CODECS["text"], ParseSpec({}, settings.pass_fields), 1000),
        publisher=Outbox(),
        acks=acks,
        shadow=Shadow(settings, models, in_flight, comparison, threads.shadow, metrics),
        in_flight=in_flight,
        metrics=metrics,
        threads=threads,
    )


def texts(count: int) -> list[Record]:
    return [
        Record(PARTITIONS[n % 3], n // 3, b"k%d" % n, b"word " * (n % 11 + 1), timestamp=1)
        for n in range(count)
    ]


async def feed(records: list[Record]) -> AsyncIterator[Record]:
    for record in records:
        yield record
        await asyncio.sleep(0)
    await asyncio.Event().wait()


async def run(
    route: Route, records: list[Record] | AsyncIterator[Record], until: Callable[[], bool]
) -> None:
    """Feed the records and work until the condition holds."""
    stream = feed(records) if isinstance(records, list) else records
    task = asyncio.ensure_future(label_records(stream, route))
    try:
        async with asyncio.timeout(30):
            while not until() and not task.done():
                moved = asyncio.ensure_future(route.in_flight._valve().moved.wait())
                await asyncio.wait({moved, task}, return_when=asyncio.FIRST_COMPLETED)
                route.in_flight._valve().moved.clear()
    finally:
        task.cancel()
        done = await asyncio.gather(task, return_exceptions=True)
    if isinstance(done[0], Exception):
        raise done[0]


def labels(route: Route) -> list[LabelRecord]:
    return [
        LabelRecord.model_validate_json(o.value or b"")
        for o in route.publisher.out
        if o.topic == "out"
    ]


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

    route = replace(route, parser=Parser(broken, ParseSpec(), 1000))
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

    route = replace(route, parser=Parser(codec, ParseSpec(), 1000))
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
    acks = AckTracker()
    started, release = threading.Event(), threading.Event()

    def before(batch: Sequence[Sequence[int]]) -> None:
        started.set()
        release.wait(60)

    route = make_route(acks, FakeEngine(CARD.labels, before))
    records = texts(30)

    async def revoke() -> None:
        await asyncio.to_thread(started.wait, 60)
        acks.freeze()
        acks.forget()
        release.set()

    revoking = asyncio.ensure_future(revoke())
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


class Closing(FakeEngine):
    """Says when it is closed, and whether it was asked for scores after."""

    def __init__(self, before: Callable[[Sequence[Sequence[int]]], None] | None = None) -> None:
        super().__init__(CARD.labels, before)
        self.closed = False

    def logits(self, batch, prior=None):
        assert not self.closed
        return super().logits(batch, prior)

    def close(self) -> None:
        self.closed = True


async def test_a_swap_falls_between_records_and_the_old_engine_closes_after_its_last():
    started, release = threading.Event(), threading.Event()

    def before(batch: Sequence[Sequence[int]]) -> None:
        started.set()
        release.wait(60)

    old, new = Closing(before), Closing()
    acks = AckTracker()
    route = make_route(acks, old)
    records = texts(300)

    async def stream() -> AsyncIterator[Record]:
        for record in records[:150]:
            yield record
        await asyncio.to_thread(started.wait, 60)
        route.models.swap(served(new, version="8"))
        assert not old.closed, "it has work in flight"
        for record in records[150:]:
            yield record
        release.set()
        await asyncio.Event().wait()

    await run(route, stream(), lambda: len(route.publisher.out) == 300 and old.closed)
    versions = {label.id: label.model.version for label in labels(route)}
    assert [versions[record.id] for record in records] == ["7"] * 150 + ["8"] * 150
    assert not new.closed
    assert sum(acks.positions().values()) == 300


async def test_a_swap_back_and_forth_keeps_a_model_that_serves_again():
    first, second = Closing(), Closing()
    route = make_route(AckTracker(), first)
    model = route.models.champion
    work = route.admit(texts(1)[0])
    route.models.swap(served(second))
    route.models.swap(model)
    assert second.closed, "it never had a record"
    route.drop([work])
    assert not first.closed


def delivered(route: Route, count: int) -> bool:
    return len(route.publisher.out) == count


def half(records: list[Record]) -> set[str]:
    """The ids of the records that a challenger's half of the keys gets."""
    return {record.id for record in records if place(record) < 0.5}


async def test_what_a_canary_cannot_label_the_champion_does():
    """A record that breaks the challenger alone is no poison, and a sick one no reason to end."""

    def long_words(batch: Sequence[Sequence[int]]) -> None:
        if any(len(tokens) > 5 for tokens in batch):
            raise RuntimeError("only short texts here")

    def sick(batch: Sequence[Sequence[int]]) -> None:
        raise RuntimeError("device lost")

    records = texts(120)
    for broken in (long_words, sick):
        challenger = Closing(broken)
        route = make_route(AckTracker(), Closing(), challenger="c", canary_share=0.5)
        route.models.challenge(served(challenger, version="8"))
        await run(route, records, partial(delivered, route, 120))
        found = labels(route)
        assert [label.id for label in found] == [record.id for record in records]
        by_challenger = {label.id for label in found if label.model.version == "8"}
        chosen = half(records)
        assert by_challenger <= chosen
        if broken is sick:
            assert not by_challenger
            assert challenger.closed, "withdrawn"
        else:
            short = {record.id for record in records if len((record.value or b"").split()) <= 5}
            assert by_challenger == chosen & short


def outcomes(route: Route) -> dict[str, float]:
    """Shadow records by outcome."""
    [family] = route.metrics.shadowed.collect()
    return {s.labels["outcome"]: s.value for s in family.samples if s.name.endswith("_total")}


async def compared(route: Route, records: list[Record], until: Callable[[], bool]) -> None:
    """Work until all records are labelled, and the condition holds for their comparison."""

    async def look() -> None:
        while True:
            route.in_flight._valve().moved.set()
            await asyncio.sleep(0.01)  # a comparison is waited for by nobody, so it tells nobody

    looking = asyncio.ensure_future(look())
    await run(route, records, lambda: len(route.publisher.out) == len(records) and until())
    looking.cancel()


async def test_a_shadow_labels_again_and_is_counted():
    route = make_route(AckTracker(), FakeEngine(CARD.labels), challenger="c", shadow_share=1)
    route.models.challenge(served(Closing(), version="8"))
    records = texts(60)
    await compared(route, records, lambda: len(route.shadow._sender.out) == 60)
    assert outcomes(route) == {"agrees": 60}
    out = route.shadow._sender.out
    assert {o.topic for o in out} == {"out.shadow"}
    again = [LabelRecord.model_validate_json(o.value or b"") for o in out]
    assert {label.id for label in again} == {record.id for record in records}
    assert {label.model.version for label in again} == {"8"}
    told = [dict(o.headers) for o in out]
    assert {headers["winnow-champion-model"] for headers in told} == {b"m/7"}
    assert {headers["winnow-champion-label"] for headers in told} == {b"ham", b"spam"}
    assert {label.model.version for label in labels(route)} == {"7"}


async def test_a_shadow_that_fails_harms_nothing():
    def sick(batch: Sequence[Sequence[int]]) -> None:
        raise RuntimeError("device lost")

    challenger = Closing(sick)
    route = make_route(AckTracker(), FakeEngine(CARD.labels), challenger="c", shadow_share=1)
    route.models.challenge(served(challenger))
    records = texts(30)
    await compared(route, records, lambda: challenger.closed)
    assert set(outcomes(route)) == {"failed"}
    assert len(labels(route)) == 30

    unsent = make_route(AckTracker(), FakeEngine(CARD.labels), challenger="c", shadow_share=1)
    unsent.models.challenge(served(Closing()))
    unsent.shadow._sender.error = OSError()
    await compared(unsent, records, lambda: outcomes(unsent) == {"agrees": 30})
    assert len(labels(unsent)) == 30


async def test_a_busy_route_leaves_its_shadow_out():
    """More than half of what may be in flight is there when labels are confirmed."""
    route = make_route(
        AckTracker(),
        FakeEngine(CARD.labels),
        challenger="c",
        shadow_share=1,
        max_in_flight_records=10,
        max_batch_records=100,
        max_batch_delay_seconds=0.5,
    )
    route.models.challenge(served(Closing()))

    async def stream() -> AsyncIterator[Record]:
        for record in texts(50):  # all at once, so that one batch has them all
            yield record
        await asyncio.Event().wait()

    await run(route, stream(), lambda: len(route.publisher.out) == 50)
    assert outcomes(route) == {"left_out": 50}


async def test_replayed_records_keep_their_id_and_headers_pass_through():
    route = make_route(AckTracker(), FakeEngine(CARD.labels), pass_fields=["mailbox"])
    headers = (
        ("winnow-origin-id", b"mail/2/77"),
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
    assert label["model"] == {"name": "m", "version": "7", "digest": "d"}
    assert [v for k, v in out.headers if k == "traceparent"] == [b"00-abc"]
    assert [v for k, v in out.headers if k == "ce_id"] == [b"mail/2/77"]
