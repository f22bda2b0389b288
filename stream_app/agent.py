"""READ FIRST: the whole data path.

    record -> parse -> encode -> batch -> classify -> publish -> ack
                 \\-> dead letter (with the reason)

At least once, nothing lost, nothing silently skipped: an offset is committed only when every record
delivered before it on its partition has its label or dead letter confirmed by the broker. Each step
runs beside the others: while one batch is on the device, the next is being tokenized and the
previous one published. Order is kept because every step is first in, first out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Sequence

from stream_app.core.messages import Record
from stream_app.pipeline.batch import batches
from stream_app.pipeline.route import Route
from stream_app.pipeline.work import Batch, Work

CHUNK = 32  # records parsed and encoded in one visit to the host thread
AHEAD = 1  # batches a step may be ahead of the next


async def label_records(records: AsyncIterable[Record], route: Route) -> None:
    """Label a route's records for ever. What escapes from here must end the process, unacked."""
    consumed: asyncio.Queue[Work] = asyncio.Queue()  # bounded by route.in_flight
    encoded: asyncio.Queue[Work] = asyncio.Queue()  # bounded by route.in_flight
    classified: asyncio.Queue[Batch] = asyncio.Queue(AHEAD)
    async with asyncio.TaskGroup() as steps:
        steps.create_task(_encode(consumed, encoded, route))
        steps.create_task(_classify(encoded, classified, route))
        steps.create_task(_publish(classified, route))
        steps.create_task(route.shadow.run())
        async for record in records:
            route.metrics.consumed.labels(route.settings.name).inc()
            if route.acks.deliver(record):
                consumed.put_nowait(route.admit(record))


async def _encode(source: asyncio.Queue[Work], sink: asyncio.Queue[Work], route: Route) -> None:
    while True:
        works = _owned(await _chunk(source), route)
        if works:
            await route.on_host(route.parse, works)
            await route.on_host(route.encode, works)
        for work in works:
            sink.put_nowait(work)


async def _classify(source: asyncio.Queue[Work], sink: asyncio.Queue[Batch], route: Route) -> None:
    async for batch in batches(source, route.limits):
        owned = Batch(tuple(_owned(batch.works, route)))
        if owned.works:
            await route.on_device(route.classify, owned)
            await sink.put(owned)


async def _publish(source: asyncio.Queue[Batch], route: Route) -> None:
    while True:
        batch = await source.get()
        works = _owned(batch.works, route)
        if works and await route.publish(works):
            route.ack(works)
            route.shadow.offer(works)
        route.drop(works)


async def _chunk(source: asyncio.Queue[Work]) -> list[Work]:
    """What is waiting, at least one and at most CHUNK."""
    works = [await source.get()]
    while len(works) < CHUNK and not source.empty():
        works.append(source.get_nowait())
    return works


def _owned(works: Sequence[Work], route: Route) -> list[Work]:
    """The works whose partition is still ours; the others were revoked, and end here."""
    owned = [work for work in works if route.acks.owns(work.record)]
    if len(owned) < len(works):
        route.drop([work for work in works if not route.acks.owns(work.record)])
    return owned
