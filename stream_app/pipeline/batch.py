"""Batch: works -> batches by tokens. The heart of throughput, and of the oldest record's wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from stream_app.pipeline.work import Batch, Work


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """A batch closes at whichever comes first. `delay` is in seconds, from the oldest record."""

    tokens: int
    records: int
    delay: float


async def batches(
    works: asyncio.Queue[Work],
    limits: Callable[[], BatchLimits],
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Batch]:
    """Batches of works in delivery order, without end.

    A batch holds at most the `records` and `tokens` that the limits say when it begins; a single
    work with more tokens goes alone. While the consumer of this generator is busy the queue fills,
    so the next batch is full at once: the deadline only matters when records are few.
    """
    carried: Work | None = None
    while True:
        batch = [carried or await works.get()]
        tokens, carried, bounds = len(batch[0].tokens), None, limits()
        deadline = batch[0].since + bounds.delay
        while len(batch) < bounds.records:
            work = await _next(works, deadline - clock())
            if work is None:
                break
            if tokens + len(work.tokens) > bounds.tokens:
                carried = work
                break
            batch.append(work)
            tokens += len(work.tokens)
        yield Batch(tuple(batch))


async def _next(works: asyncio.Queue[Work], seconds: float) -> Work | None:
    """The next work, or None if none comes within `seconds`."""
    try:
        return works.get_nowait()
    except asyncio.QueueEmpty:
        pass
    if seconds <= 0:
        return None
    try:
        return await asyncio.wait_for(works.get(), seconds)
    except TimeoutError:
        return None
