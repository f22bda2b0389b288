"""A head that moves as far as corrections ask for, and no further."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from stream_app.model.ngrams import Features, NgramHead
from training.fitting.moved_head import Taught, moved

FEATURES = Features(words=1, bits=12)
HAM, SPAM = (1.0, 0.0), (0.0, 1.0)
OLD = [f"invoice {word} meeting" for word in ("budget", "monday", "report", "lunch")] * 5
NEW = [f"journal {word} manuscript" for word in ("editor", "review", "issue", "article")] * 5


@pytest.fixture
def head() -> NgramHead:
    """It takes `invoice` for ham, and does not know `journal`."""
    weights = np.zeros((1 << FEATURES.bits, 2), np.int8)
    weights[FEATURES.buckets("invoice")] = (127, -127)
    return NgramHead(FEATURES, weights, np.full(2, 0.05, np.float32), np.zeros(2, np.float32))


def taught(head: NgramHead, given: Sequence[tuple[str, tuple[float, float]]]) -> Taught:
    texts = [text for text, _ in given]
    ones = np.ones(len(texts))
    targets = np.array([target for _, target in given])
    logits = head.logits(texts).astype(float)
    return Taught(texts, logits, ones, targets, ones, "single_label")


def spam(head: NgramHead, texts: Sequence[str]) -> float:
    """The least probability of spam among the texts."""
    logits = head.logits(texts)
    return float((1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))).min())


def believed(head: NgramHead, texts: Sequence[str]) -> list[tuple[str, tuple[float, float]]]:
    return [(text, (1 - spam(head, [text]), spam(head, [text]))) for text in texts]


def test_taught_what_it_says_already_it_stays_as_it_is(head: NgramHead) -> None:
    after = moved(head, taught(head, believed(head, OLD + NEW)), 10)
    assert np.abs(after.logits(OLD) - head.logits(OLD)).max() < 0.05
    assert (after.bias == head.bias).all()


def test_corrections_are_learnt_and_the_rest_stays(head: NgramHead) -> None:
    after = moved(head, taught(head, [*believed(head, OLD), *((text, SPAM) for text in NEW)]), 10)
    assert spam(head, NEW) < 0.6 < 0.9 < spam(after, NEW)
    assert spam(after, ["journal of another manuscript"]) > 0.7, "others of the kind, too"
    assert np.abs(after.logits(OLD) - head.logits(OLD)).max() < 0.3


def test_a_word_of_a_single_text_says_nothing(head: NgramHead) -> None:
    after = moved(head, taught(head, [("never again", SPAM), *((t, HAM) for t in OLD)]), 10)
    assert (after.logits(["never again"]) == head.logits(["never again"])).all()


def test_the_weaker_the_less_it_moves(head: NgramHead) -> None:
    given = taught(head, [*believed(head, OLD), *((text, SPAM) for text in NEW)])
    assert 0.5 < spam(moved(head, given, 0.1), NEW) < spam(moved(head, given, 10), NEW)


def test_calibrated_logits_count_as_they_are_served(head: NgramHead) -> None:
    """Twice the divisor makes half of a logit, so the head has to move further for the same."""
    given = taught(head, [*believed(head, OLD), *((text, SPAM) for text in NEW)])
    halved = replace(given, divisors=given.divisors * 2)
    assert spam(moved(head, halved, 10), NEW) > spam(moved(head, given, 10), NEW)


def test_of_several_labels_each_is_learnt_by_itself_and_what_nobody_says_is_not(
    head: NgramHead,
) -> None:
    """A tag is added to texts of which nothing is said about the other label."""
    only = [(text, (float("nan"), 1.0)) for text in NEW]
    known = 1 / (1 + np.exp(-head.logits(OLD)))
    held = [(text, (float(a), float(b))) for text, (a, b) in zip(OLD, known, strict=True)]
    several = replace(taught(head, [*held, *only]), problem="multi_label")
    after = moved(head, several, 10)
    assert after.logits(NEW)[:, 1].min() > 1 > head.logits(NEW)[:, 1].max()
    assert np.abs(after.logits(NEW)[:, 0] - head.logits(NEW)[:, 0]).max() < 0.2
    assert np.abs(after.logits(OLD) - head.logits(OLD)).max() < 0.3
    assert np.isfinite(after.scale).all()
