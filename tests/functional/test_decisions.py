"""Decisions on their way: mail without text, unfamiliar texts, and who reads or counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest

from stream_app.core.label_record import LabelRecord
from stream_app.core.messages import Record
from stream_app.core.metrics import Metrics
from stream_app.core.settings import DriftSettings
from stream_app.engine.fake import FakeEngine
from stream_app.model.decision import WITHOUT_TEXT
from stream_app.model.drift_reference import Drift
from stream_app.model.encoder import Encoder
from stream_app.model.preparation import Preparation
from stream_app.pipeline.ack import AckTracker
from stream_app.pipeline.work import Work
from stream_app.services.drift import DriftMonitor
from stream_app.services.review_copier import wanted
from stream_app.serving.classifier import Classifier
from tests.fake_route import CARD, PARTITIONS, Made, Words, labels, make_route, run

PICTURE = b"Message-ID: <1@x>\nX-Box: a\nContent-Type: image/png\n\n\x89PNG"
MAIL = b"Subject: some words\n\nand more"
EMPTY = b"X-Box: a\n\n"


def records(*values: bytes) -> list[Record]:
    return [Record(PARTITIONS[0], n, b"%d" % n, value) for n, value in enumerate(values)]


def counted(metrics: Metrics, name: str) -> Counter[str]:
    """A counter's values, each by the last of its labels."""
    [family] = (f for f in metrics.registry.collect() if f.name == f"winnow_{name}")
    found: Counter[str] = Counter()
    for sample in family.samples:
        if sample.name.endswith("_total"):
            found[list(sample.labels.values())[-1]] += int(sample.value)
    return found


async def ran(route: Made, *values: bytes) -> list[LabelRecord]:
    """The labels of records with these values, once all have come out and were acked."""
    acked = route.in_flight
    await run(
        route,
        records(*values),
        lambda: len(route.publisher.out) == len(values) and not acked.records,
    )
    return labels(route)


async def test_a_mail_of_pictures_only_is_unsure_in_its_place():
    acks = AckTracker()
    route = make_route(acks, FakeEngine(CARD.labels), format="rfc822", pass_fields=["X-Box"])
    found = await ran(route, MAIL, PICTURE, EMPTY, PICTURE, MAIL)
    assert [out.topic for out in route.publisher.out] == ["out", "out", "in.dlq", "out", "out"]
    assert [label.source.offset for label in found] == [0, 1, 3, 4]
    assert acks.positions() == {PARTITIONS[0]: 5}
    picture = found[1]
    assert (picture.label, picture.decision, picture.marks) == ("unsure", "unsure", ["no_text"])
    assert (picture.labels, picture.confidence, picture.scores) == ([], 0.0, {})
    assert picture.familiarity is None
    assert (picture.source.message_id, picture.source.fields) == ("<1@x>", {"X-Box": "a"})
    assert picture.model == found[0].model
    assert found[0].marks == []
    assert counted(route.metrics, "records_labelled").total() == 4
    assert counted(route.metrics, "decisions") == {found[0].label: 2, "unsure": 2}
    assert counted(route.metrics, "records_unsure") == {"no_text": 2}
    assert counted(route.metrics, "labels") == {found[0].label: 2}, "it is no class"


async def test_a_batch_of_pictures_needs_no_engine():
    def before(batch: Sequence[Sequence[int]]) -> None:
        raise AssertionError("there is nothing to score")

    route = make_route(AckTracker(), FakeEngine(CARD.labels, before), format="rfc822")
    found = await ran(route, *[PICTURE] * 40)
    assert {label.decision for label in found} == {"unsure"}


async def test_a_route_may_keep_the_dead_letter():
    engine = FakeEngine(CARD.labels)
    route = make_route(AckTracker(), engine, format="rfc822", on_no_text="dead_letter")
    [label] = await ran(route, MAIL, PICTURE)
    letter = route.publisher.out[1]
    assert letter.topic == "in.dlq"
    assert letter.value == PICTURE
    assert dict(letter.headers)["winnow-error"] == b"no_text"
    assert label.source.offset == 0
    assert counted(route.metrics, "records_dead_lettered") == {"no_text": 1}


async def test_drift_shadow_and_review_leave_a_mail_without_text_out():
    seen: list[Work] = []
    how = {"challenger": "c", "shadow_share": 1, "review_share": 1, "review_unsure": True}
    route = make_route(AckTracker(), FakeEngine(CARD.labels), [seen.extend], format="rfc822")
    champion = replace(route.models.champion, drift=cast("Drift", "a reference"))
    route.models.swap(champion)
    await ran(route, MAIL, PICTURE)
    assert [work.prediction is WITHOUT_TEXT for work in seen] == [False, True]
    monitor = DriftMonitor(DriftSettings(), route.metrics)
    monitor.observe("r", route.models, seen)
    assert len(monitor._open["r"].seen) == 1
    compared = make_route(AckTracker(), FakeEngine(CARD.labels), format="rfc822", **how)
    compared.models.challenge(replace(champion, engine=FakeEngine(CARD.labels)))
    compared.shadow.observe(seen)  # not started: what it takes waits
    assert compared.shadow._waiting.qsize() == 1
    assert [wanted(w.id, w.prediction, compared.settings) for w in seen] == [True, False]


class Lengths:
    """A measure: the longer a text, the more familiar."""

    def scores(self, texts: Sequence[str], tokens: Sequence[Sequence[int]]) -> list[float]:
        assert [len(text.split()) for text in texts] == list(map(len, tokens))
        return [min(1.0, len(ids) / 10) for ids in tokens]


@pytest.mark.parametrize("min_confidence", [None, 0.0, 0.99])
async def test_an_unfamiliar_text_is_unsure_whatever_its_score(min_confidence: float | None):
    route = make_route(AckTracker(), FakeEngine(CARD.labels), min_confidence=min_confidence)
    card = CARD.model_copy(update={"familiar_at": 0.4})
    if min_confidence is not None:
        card = card.model_copy(update={"decide_at": dict.fromkeys(CARD.labels, min_confidence)})
    champion = route.models.champion
    route.models.swap(
        replace(
            champion,
            encoder=Encoder(Words(), Preparation(), familiarity=Lengths()),
            classifier=Classifier(champion.engine, card, [1], lambda _: None),
        )
    )
    found = await ran(route, *(b"word " * n for n in (1, 3, 4, 12)))
    assert [label.familiarity for label in found] == [0.1, 0.3, 0.4, 1.0]
    strange = ["unfamiliar"]
    assert [label.marks for label in found] == [strange, strange, [], []]
    low = min_confidence == 0.99
    told = ["unsure"] * 4 if low else ["unsure", "unsure", found[2].label, found[3].label]
    assert [label.decision for label in found] == told
    assert {label.label for label in found} <= set(CARD.labels)
    reasons = {"unfamiliar": 2, "low_confidence": 2} if low else {"unfamiliar": 2}
    assert counted(route.metrics, "records_unsure") == reasons
