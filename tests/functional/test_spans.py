"""The spans of a route with a fake engine: parents, links, what is sampled, and no text in any."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased
from opentelemetry.trace import SpanKind, StatusCode, Tracer

from stream_app.core.messages import Headers, Record
from stream_app.engine.fake import FakeEngine
from stream_app.pipeline.ack import AckTracker
from tests.fake_route import CARD, PARTITIONS, Held, make_route, run, texts

TRACE = "0af7651916cd43dd8448eb211c80319c"
SENT = f"00-{TRACE}-b7ad6b7169203331-01"


class Spans:
    """What a tracer made: spans that ended, by name."""

    def __init__(self, root: bool = True) -> None:
        self._memory = InMemorySpanExporter()
        sampler = ParentBased(ALWAYS_ON if root else ALWAYS_OFF)
        provider = TracerProvider(sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._memory))
        self.tracer: Tracer = provider.get_tracer("test")

    def __call__(self, name: str = "") -> list[ReadableSpan]:
        return [span for span in self._memory.get_finished_spans() if span.name.startswith(name)]


def headers(**given: str) -> Headers:
    return tuple((name, text.encode()) for name, text in given.items())


def traceparent(found: Headers) -> str:
    [text] = [value.decode() for name, value in found if name == "traceparent"]
    return text


def context(span: ReadableSpan) -> tuple[int, int]:
    return span.context.trace_id, span.context.span_id


async def test_a_records_trace_goes_on_to_its_label():
    spans = Spans()
    route = make_route(AckTracker(), FakeEngine(CARD.labels), tracer=spans.tracer)
    sent = headers(traceparent=SENT, tracestate="shop=7", other="kept")
    record = Record(PARTITIONS[1], 5, b"a key", b"some words", sent, timestamp=1)
    await run(route, [record], lambda: len(route.publisher.out) == 1)
    [process], [classify], [send] = spans("process"), spans("classify"), spans("send")

    assert (process.name, process.kind) == ("process in", SpanKind.CONSUMER)
    assert f"{process.context.trace_id:032x}" == TRACE
    assert f"{process.parent.span_id:016x}" == "b7ad6b7169203331"
    assert dict(process.attributes) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "in",
        "messaging.destination.partition.id": "1",
        "messaging.kafka.offset": 5,
        "messaging.consumer.group.name": "g",
        "messaging.message.body.size": 10,
        "winnow.route": "r",
        "winnow.model": "m/7",
        "winnow.decision": process.attributes["winnow.decision"],
    }
    assert process.attributes["winnow.decision"] in CARD.labels

    assert classify.parent.span_id == process.context.span_id
    assert [context(link) for link in classify.links] == [context(process)]
    assert [context(link) for link in process.links] == [context(classify)]
    assert classify.attributes["messaging.batch.message_count"] == 1
    assert classify.attributes["winnow.batch.tokens"] == 2

    assert (send.name, send.kind) == ("send out", SpanKind.PRODUCER)
    assert send.parent.span_id == process.context.span_id
    assert send.attributes["messaging.destination.name"] == "out"
    out = dict(route.publisher.out[0].headers)
    assert out["traceparent"].decode().startswith(f"00-{TRACE}-{send.context.span_id:016x}-")
    assert (out["tracestate"], out["other"]) == (b"shop=7", b"kept")
    assert process.start_time <= classify.start_time <= classify.end_time <= send.start_time
    assert send.end_time <= process.end_time


async def test_a_batch_is_one_span_with_links_to_all_its_records():
    spans = Spans()
    route = make_route(AckTracker(), FakeEngine(CARD.labels), tracer=spans.tracer)
    await run(route, texts(100), lambda: len(route.publisher.out) == 100)
    records, batches = spans("process"), spans("classify")
    assert len({span.context.trace_id for span in records}) == 100, "each began a trace of its own"
    linked = [context(link) for batch in batches for link in batch.links]
    assert sorted(linked) == sorted(map(context, records))
    assert sum(batch.attributes["messaging.batch.message_count"] for batch in batches) == 100
    for batch in batches:
        first = batch.links[0].context
        assert (batch.parent.span_id, batch.context.trace_id) == (first.span_id, first.trace_id)


async def test_who_sent_a_record_says_whether_it_is_sampled():
    spans = Spans(root=False)
    route = make_route(AckTracker(), FakeEngine(CARD.labels), tracer=spans.tracer)
    fine = texts(3)
    told = [
        replace(fine[0], headers=headers(traceparent=SENT)),
        replace(fine[1], headers=headers(traceparent=SENT[:-1] + "0")),
        fine[2],
    ]
    await run(route, told, lambda: len(route.publisher.out) == 3)
    assert len(spans("process")) == len(spans("classify")) == len(spans("send")) == 1
    sampled, unsampled, own = (traceparent(out.headers) for out in route.publisher.out)
    assert sampled.startswith(f"00-{TRACE}-")
    assert unsampled.startswith(f"00-{TRACE}-")
    assert [int(text[-2:], 16) & 1 for text in (sampled, unsampled, own)] == [1, 0, 0]
    assert len({sampled, unsampled, own}) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "00-abc",
        "é" * 55,
        "00-" + "0" * 32 + "-" + "0" * 16 + "-01",
        SENT + "-" + " " * 900_000 + "\nx",  # older propagators look at it for minutes
    ],
    ids=["empty", "short", "accents", "zeros", "spaces"],
)
async def test_a_context_that_is_none_begins_a_new_trace(wrong: str):
    spans = Spans()
    route = make_route(AckTracker(), FakeEngine(CARD.labels), tracer=spans.tracer)
    [record] = texts(1)
    record = replace(record, headers=headers(traceparent=wrong, tracestate="=,="))
    await run(route, [record], lambda: len(route.publisher.out) == 1)
    [process] = spans("process")
    assert process.parent is None
    assert f"{process.context.trace_id:032x}" in traceparent(route.publisher.out[0].headers)


async def test_a_dead_letter_has_its_code_and_its_topic():
    spans = Spans()
    route = make_route(AckTracker(), FakeEngine(CARD.labels), tracer=spans.tracer)
    record = Record(PARTITIONS[0], 0, None, b"", headers(traceparent=SENT))
    await run(route, [record], lambda: len(route.publisher.out) == 1)
    [process], [send] = spans("process"), spans("send")
    assert process.attributes["error.type"] == "no_text"
    assert process.status.status_code is StatusCode.ERROR
    assert send.name == "send in.dlq"
    assert f"{send.context.span_id:016x}" in traceparent(route.publisher.out[0].headers)


async def test_a_revoked_record_ends_without_a_label():
    acks, spans, held = AckTracker(), Spans(), Held()
    route = make_route(acks, FakeEngine(CARD.labels, held), tracer=spans.tracer)
    revoking = asyncio.ensure_future(held.revoke(acks))
    await run(route, texts(30), lambda: revoking.done() and route.in_flight.records == 0)
    assert len(spans("process")) == 30
    assert {span.attributes["error.type"] for span in spans("process")} == {"revoked"}
    assert spans("send") == []


async def test_no_span_has_a_text_whatever_fails():
    def sick(batch: Sequence[Sequence[int]]) -> None:
        raise RuntimeError("secret of the engine")

    spans = Spans()
    engine = FakeEngine(CARD.labels, sick)
    route = make_route(AckTracker(), engine, tracer=spans.tracer)
    record = Record(PARTITIONS[0], 0, b"secret key", b"secret words", headers(x="secret header"))
    with pytest.raises(BaseExceptionGroup):
        await run(route, [record], lambda: False)
    [classify] = spans("classify")
    assert classify.attributes["error.type"] == "EngineSick"
    assert "secret" not in "".join(span.to_json() for span in spans())
