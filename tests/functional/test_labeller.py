"""Labels in this process: the worker's path, for many callers at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from stream_app.core.errors import EngineSick
from stream_app.core.metrics import Metrics
from stream_app.core.settings import LabelSettings
from stream_app.engine.fake import FakeEngine
from stream_app.labeller import Labeller
from tests.fake_route import CARD, Held, served


def labeller(engine: FakeEngine, metrics: Metrics | None = None, **settings: object) -> Labeller:
    given = LabelSettings(name="here", format="text", model="m", **settings)
    return Labeller(given, served(engine), metrics or Metrics())


async def test_calls_at_one_time_share_batches_and_each_gets_its_own_answer():
    sizes: list[int] = []
    engine = FakeEngine(CARD.labels, lambda batch: sizes.append(len(batch)))
    async with labeller(engine) as label:
        texts = [b"word " * (n % 7 + 1) for n in range(60)]
        found = await asyncio.gather(*map(label.label, texts))
        alone = await label.label(texts[3])
    assert sum(sizes) == 61
    assert max(sizes) > 1
    assert [len(work.tokens) for work in found] == [n % 7 + 1 for n in range(60)]
    assert found[3].prediction == alone.prediction
    assert all(work.prediction == found[n % 7].prediction for n, work in enumerate(found))


async def test_what_cannot_be_labelled_has_its_reason():
    async with labeller(FakeEngine(CARD.labels), max_record_bytes=10) as label:
        values = (b"", None, b"far too many bytes", b"words")
        found = await asyncio.gather(*map(label.label, values))
    codes = [work.error.code if work.error else None for work in found]
    assert codes == ["no_text", "null_value", "too_large", None]


async def test_more_than_may_be_in_flight_waits():
    held, metrics = Held(), Metrics()
    in_flight = metrics.in_flight_records.labels("here")

    engine = FakeEngine(CARD.labels, held)
    async with labeller(engine, metrics, max_in_flight_records=4) as label:
        first = [asyncio.create_task(label.label(b"words")) for _ in range(4)]
        await held.started()
        later = [asyncio.create_task(label.label(b"words")) for _ in range(20)]
        await asyncio.sleep(0)
        assert in_flight._value.get() == 4
        held.release.set()
        found = await asyncio.gather(*first, *later)
    assert all(work.prediction for work in found)
    assert in_flight._value.get() == 0


async def test_a_caller_that_goes_away_harms_no_other():
    held = Held()
    async with labeller(FakeEngine(CARD.labels, held)) as label:
        impatient = asyncio.create_task(label.label(b"some words"))
        await held.started()
        patient = asyncio.create_task(label.label(b"some words"))
        impatient.cancel()
        held.release.set()
        assert (await patient).prediction
    assert impatient.cancelled()


async def test_a_sick_engine_is_told_to_every_caller_and_to_those_after():
    def sick(batch: Sequence[Sequence[int]]) -> None:
        raise RuntimeError("device lost")

    async with labeller(FakeEngine(CARD.labels, sick)) as label:
        found = await asyncio.gather(
            *(label.label(b"words") for _ in range(9)), return_exceptions=True
        )
        assert {type(each) for each in found} == {EngineSick}
        with pytest.raises(EngineSick):
            await label.label(b"words")
