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
from collections.abc import AsyncIterable

from stream_app.core.messages import Record
from stream_app.pipeline.batch import batches
from stream_app.pipeline.route import Route
from stream_app.pipeline.threads import BATCHES_AT_ONCE
from stream_app.pipeline.work import Batch, Work

CHUNK = 32  # records parsed and encoded in one visit to the host thread
AHEAD = 1  # batches a step may be ahead of the next


async def label_records(records: AsyncIterable[Record], route: Route) -> None:
    """Label a route's records until cancelled. An exception must end the process, unacked."""
    consumed: asyncio.Queue[Work] = asyncio.Queue()  # bounded by the route's admission
    encoded: asyncio.Queue[Work] = asyncio.Queue()  # bounded by the route's admission
    classified: asyncio.Queue[asyncio.Task[Batch]] = asyncio.Queue(AHEAD)
    async with asyncio.TaskGroup() as steps:
        steps.create_task(_encode(consumed, encoded, route))
        steps.create_task(_classify(encoded, classified, route, steps))
        steps.create_task(_publish(classified, route))
        async for record in records:
            work = route.admission.admit(record)
            if work is not None:
                consumed.put_nowait(work)


async def _encode(source: asyncio.Queue[Work], sink: asyncio.Queue[Work], route: Route) -> None:
    while True:
        works = route.admission.owned(await _chunk(source))
        if works:
            await route.threads.on_host(route.parse, works)
            await route.threads.on_host(route.encode, works)
        for work in works:
            sink.put_nowait(work)


async def _classify(
    source: asyncio.Queue[Work],
    sink: asyncio.Queue[asyncio.Task[Batch]],
    route: Route,
    steps: asyncio.TaskGroup,
) -> None:
    """Batches to the device, two at once; they leave in the order they came."""
    room = asyncio.Semaphore(BATCHES_AT_ONCE - 1)
    async for batch in batches(source, route.limits):
        owned = Batch(tuple(route.admission.owned(batch.works)))
        if owned.works:
            running = steps.create_task(route.threads.on_device(route.classify, owned))
            running.add_done_callback(lambda _: room.release())
            await sink.put(running)
            await room.acquire()  # before the next batch closes: while it waits it can still grow


async def _publish(source: asyncio.Queue[asyncio.Task[Batch]], route: Route) -> None:
    while True:
        works = route.admission.owned((await (await source.get())).works)
        if works and await route.publish(works):
            route.ack(works)
        route.admission.drop(works)


async def _chunk(source: asyncio.Queue[Work]) -> list[Work]:
    """The waiting works, at least one and at most CHUNK."""
    works = [await source.get()]
    while len(works) < CHUNK and not source.empty():
        works.append(source.get_nowait())
    return works
