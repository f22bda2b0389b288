"""The spans of a route's records, by OpenTelemetry's conventions for messaging.

    process TOPIC     a record, from its admission until its label or dead letter is confirmed;
                      child of what its `traceparent` names
      send TOPIC      its label or dead letter, which carries this span's context
    classify ROUTE    a batch; child of its first traced record, with links to all of them

Made by hand: what traces aiokafka by itself wraps calls that Faust does not make. No span holds a
text, a key or an error's own words. https://opentelemetry.io/docs/specs/semconv/messaging/kafka/
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    set_span_in_context,
    use_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from stream_app.core.headers import encoded
from stream_app.core.messages import Headers
from stream_app.core.settings import RouteSettings
from stream_app.pipeline.route import Publishes
from stream_app.pipeline.work import Batch, Work

W3C = TraceContextTextMapPropagator()
REVOKED = "revoked"  # the next owner of the partition labels the record, in a span of its own
UNCONFIRMED = "unconfirmed"
NOWHERE = Context()


class Spans:
    """Of one route. Begun and ended on the event loop; batches on the device's threads."""

    def __init__(self, tracer: Tracer, route: RouteSettings, group: str) -> None:
        self._tracer = tracer
        self._route = route
        self._consumed = {
            **_messaging("process", route.input_topic),
            "messaging.consumer.group.name": group,
            "winnow.route": route.name,
        }

    def begin(self, work: Work) -> None:
        """A record comes in. Whether it is sampled was said by who sent it, or is decided here."""
        record = work.record
        carrier = {name: text for name in W3C.fields if (text := record.header(name)) is not None}
        name, parent = f"process {self._route.input_topic}", W3C.extract(carrier, NOWHERE)
        work.span = span = self._tracer.start_span(name, parent, SpanKind.CONSUMER)
        if span.is_recording():
            span.set_attributes(
                {
                    **self._consumed,
                    "messaging.destination.partition.id": str(record.partition.number),
                    "messaging.kafka.offset": record.offset,
                    "messaging.message.body.size": len(record.value or b""),
                }
            )

    def classifying(self, classify: Callable[[Batch], Batch]) -> Callable[[Batch], Batch]:
        """The step with a span around each batch that has a traced record."""

        def traced(batch: Batch) -> Batch:
            spans = _recording(batch.works)
            return self._in_a_span(classify, batch, spans) if spans else classify(batch)

        return traced

    def _in_a_span(
        self, classify: Callable[[Batch], Batch], batch: Batch, spans: Sequence[Span]
    ) -> Batch:
        span = self._tracer.start_span(
            f"classify {self._route.name}",
            set_span_in_context(spans[0], NOWHERE),
            links=[Link(each.get_span_context()) for each in spans],
            attributes={
                "winnow.route": self._route.name,
                "messaging.batch.message_count": len(batch.works),
                "winnow.batch.tokens": batch.tokens,
            },
        )
        for each in spans:
            each.add_link(span.get_span_context())
        try:
            with _current(span):
                return classify(batch)
        except BaseException as error:
            _failed(span, type(error).__name__)
            raise
        finally:
            span.end()

    def publishing(self, publish: Publishes) -> Publishes:
        """The step with a span for each traced record; what is sent carries its span's context."""

        async def traced(works: Sequence[Work]) -> bool:
            sends = [span for work in works if (span := self._send(work))]
            confirmed = False
            try:
                with _current(sends[0]) if sends else nullcontext():  # its ids are in log lines
                    confirmed = await publish(works)
            finally:
                for span in sends:
                    if not confirmed:
                        _failed(span, UNCONFIRMED)
                    span.end()
            if confirmed:
                for work in works:
                    _finish(work)
            return confirmed

        return traced

    def _send(self, work: Work) -> Span | None:
        """Begin the span that a traced record's label or dead letter is sent in."""
        assert work.span is not None
        if not work.span.is_recording():
            work.own_headers = _with_context(work.record.headers, work.span)
            return None
        route = self._route
        topic = route.output_topic if work.error is None else route.dead_letter_topic
        parent = set_span_in_context(work.span, NOWHERE)
        attributes = _messaging("send", topic)
        span = self._tracer.start_span(f"send {topic}", parent, SpanKind.PRODUCER, attributes)
        work.own_headers = _with_context(work.record.headers, span)
        return span

    def end(self, works: Sequence[Work]) -> None:
        """Records go out; those that are still open were revoked."""
        for span in _recording(works):
            _failed(span, REVOKED)
            span.end()


def _current(span: Span) -> AbstractContextManager[Span]:
    """Have a span be under way, without the words of an exception."""
    return use_span(span, record_exception=False, set_status_on_exception=False)


def _messaging(operation: str, topic: str) -> dict[str, str]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
    }


def _recording(works: Sequence[Work]) -> list[Span]:
    return [work.span for work in works if work.span is not None and work.span.is_recording()]


def _with_context(headers: Headers, span: Span) -> Headers:
    """The headers with a span's context in place of the one that came with them."""
    carrier: dict[str, str] = {}
    W3C.inject(carrier, set_span_in_context(span, NOWHERE))
    kept = tuple(header for header in headers if header[0] not in W3C.fields)
    return (*kept, *encoded(*carrier.items()))


def _finish(work: Work) -> None:
    """End the span of a record whose label or dead letter is confirmed."""
    span = work.span
    if span is None or not span.is_recording():
        return
    version = work.model.version
    span.set_attribute("winnow.model", f"{version.name}/{version.version}")
    if work.error is not None:
        _failed(span, work.error.code)
    elif work.prediction is not None:
        span.set_attribute("winnow.decision", work.prediction.decision)
    span.end()


def _failed(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)
