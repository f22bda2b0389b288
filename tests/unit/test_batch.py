"""Batching by tokens, records and the oldest record's deadline."""

import asyncio
from itertools import pairwise
from typing import cast

import pytest

from stream_app.core.messages import Partition, Record
from stream_app.pipeline.batch import BatchLimits, batches
from stream_app.pipeline.work import Work
from stream_app.serving.served import ServedModel

MODEL = cast("ServedModel", None)  # a batch is made of tokens alone


def work(offset: int, tokens: int) -> Work:
    return Work(Record(Partition("mail", 0), offset, None, b""), MODEL, tokens=[1] * tokens)


async def sizes(tokens: list[int], limits: BatchLimits, count: int) -> list[list[int]]:
    queue: asyncio.Queue[Work] = asyncio.Queue()
    for offset, number in enumerate(tokens):
        queue.put_nowait(work(offset, number))
    out, offsets = [], []
    async for batch in batches(queue, lambda: limits):
        out.append([len(w.tokens) for w in batch.works])
        offsets += [w.record.offset for w in batch.works]
        if len(out) == count:
            break
    assert all(a < b for a, b in pairwise(offsets)), "delivery order"
    return out


@pytest.mark.parametrize(
    ("tokens", "limits", "expected"),
    [
        ([10, 10, 10, 10], BatchLimits(20, 64, 0), [[10, 10], [10, 10]]),
        ([10, 10, 10], BatchLimits(1000, 2, 0), [[10, 10], [10]]),
        ([5, 90, 5], BatchLimits(50, 64, 0), [[5], [90], [5]]),  # too long for any batch: alone
        ([0, 0, 7], BatchLimits(10, 64, 0), [[0, 0, 7]]),  # dead letters ride along
    ],
)
async def test_limits(tokens: list[int], limits: BatchLimits, expected: list[list[int]]):
    assert await sizes(tokens, limits, len(expected)) == expected


async def test_the_deadline_counts_from_the_oldest_record():
    queue: asyncio.Queue[Work] = asyncio.Queue()
    first = work(0, 1)
    queue.put_nowait(first)
    now = first.since
    stream = batches(queue, lambda: BatchLimits(100, 100, delay=5.0), clock=lambda: now)
    now += 6  # the record waited longer than the delay before the batcher got to it
    batch = await anext(stream)
    assert [w.record.offset for w in batch.works] == [0]


async def test_a_batch_waits_for_more_until_its_deadline():
    queue: asyncio.Queue[Work] = asyncio.Queue()
    stream = batches(queue, lambda: BatchLimits(100, 2, delay=60.0))
    closing = asyncio.ensure_future(anext(stream))
    queue.put_nowait(work(0, 1))
    await asyncio.sleep(0)
    assert not closing.done()
    queue.put_nowait(work(1, 1))
    assert len((await closing).works) == 2
