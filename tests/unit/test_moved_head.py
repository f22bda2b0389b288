"""A head that moves as far as corrections ask for, and no further."""

from __future__ import annotations

from collections.abc import Sequence

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
    return Taught(texts, head.logits(texts).astype(float), ones, targets, ones)


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
    halved = Taught(given.texts, given.logits, given.divisors * 2, given.targets, given.weights)
    assert spam(moved(head, halved, 10), NEW) > spam(moved(head, given, 10), NEW)
