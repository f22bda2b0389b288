"""Models that change while a route works: swaps, failing canaries, shadows that only compare."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from stream_app.core.label_record import LabelRecord
from stream_app.core.messages import Record
from stream_app.engine.fake import FakeEngine
from stream_app.pipeline.ack import AckTracker
from stream_app.serving.models import place
from tests.fake_route import CARD, Held, Made, labels, make_route, run, served, texts


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
    held = Held()
    old, new = Closing(held), Closing()
    acks = AckTracker()
    route = make_route(acks, old)
    records = texts(300)

    async def stream() -> AsyncIterator[Record]:
        for record in records[:150]:
            yield record
        await held.started()
        route.models.swap(served(new, version="8"))
        assert not old.closed, "it has work in flight"
        for record in records[150:]:
            yield record
        held.release.set()
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
    work = route.route.admission.admit(texts(1)[0])
    route.models.swap(served(second))
    route.models.swap(model)
    assert second.closed, "it never had a record"
    assert work is not None
    route.route.admission.drop([work])
    assert not first.closed


def delivered(route: Made, count: int) -> bool:
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


def outcomes(route: Made) -> dict[str, float]:
    """Shadow records by outcome."""
    [family] = route.metrics.shadowed.collect()
    return {s.labels["outcome"]: s.value for s in family.samples if s.name.endswith("_total")}


async def compared(route: Made, records: list[Record], until: Callable[[], bool]) -> None:
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
