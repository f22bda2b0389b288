"""Records: what a stream of Faust brings, as the pipeline takes it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from faust import Stream

from stream_app.core.messages import Headers, Partition, Record
from stream_app.services.history.marks import Marks
from stream_app.services.reading.consumer import GuardedConsumer


async def records(
    stream: Stream[bytes], consumer: GuardedConsumer, marks: Marks
) -> AsyncIterator[Record]:
    """The stream's raw records, un-acked; those handed out before reading began anew are left out.

    A rebalance leaves such events behind; the new owner of their partition, which may be this
    process, gets them again.
    """
    async for event in stream.noack().events():
        message = event.message
        if message.reading != consumer.reading:
            continue
        partition = Partition(message.topic, message.partition)
        yield Record(
            partition,
            message.offset,
            message.key,
            message.value,
            _headers(message.headers),
            None if message.timestamp is None else round(message.timestamp * 1000),
            marks.at(partition, message.offset),
        )


def _headers(headers: Any) -> Headers:
    """Headers as a tuple of pairs; Kafka allows a null value, which is kept as empty."""
    pairs = headers.items() if isinstance(headers, dict) else headers or ()
    return tuple((name, value or b"") for name, value in pairs)
