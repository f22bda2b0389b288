"""The rule of a decision: score, threshold, familiarity; and what a card may say of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from stream_app.core.messages import Prediction
from stream_app.model.artifact import ModelCard
from stream_app.model.decision import (
    WITHOUT_TEXT,
    albert_shares,
    decide,
    for_route,
    lengths,
    probabilities,
)

CARD = ModelCard(
    name="m", version="1", labels=("ham", "spam"), decide_at={"spam": 0.9}, familiar_at=0.05
)
OPEN = CARD.model_copy(update={"decide_at": {}, "familiar_at": None})
MULTI = CARD.model_copy(update={"problem": "multi_label", "thresholds": {"ham": 0.6}})
SPAM_95, SPAM_80, HAM_80 = 2.944, 1.386, -1.386  # log(p / (1 - p)): logits of spam, of ham it is 0


def decided(card: ModelCard, margin: float, familiarity: float | None = None) -> Prediction:
    """Of a text of ten tokens, whose logit of spam is so much higher than that of ham."""
    logits = np.array([[0.0, margin]], np.float32)
    [prediction] = decide(logits, card, np.array([10]), [familiarity])
    return prediction


@pytest.mark.parametrize(
    ("card", "margin", "familiarity", "label", "decision", "marks"),
    [
        (CARD, SPAM_95, None, "spam", "spam", ()),
        (CARD, SPAM_95, 0.05, "spam", "spam", ()),  # at the bar is familiar
        (CARD, SPAM_80, 0.5, "spam", "unsure", ()),
        (CARD, SPAM_95, 0.04, "spam", "unsure", ("unfamiliar",)),
        (CARD, SPAM_80, 0.04, "spam", "unsure", ("unfamiliar",)),
        (CARD, HAM_80, 0.5, "ham", "ham", ()),  # ham has no threshold
        (CARD, HAM_80, 0.0, "ham", "unsure", ("unfamiliar",)),
        (OPEN, 0.01, None, "spam", "spam", ()),  # a card of before: all may be acted on
        (OPEN, 0.01, 0.0, "spam", "spam", ()),
        (for_route(CARD, None), SPAM_80, None, "spam", "unsure", ()),
        (for_route(CARD, 0.7), SPAM_80, None, "spam", "spam", ()),  # a route may ask for less
        (for_route(CARD, 0.9), HAM_80, None, "ham", "unsure", ()),  # and it asks of all labels
        (for_route(CARD, 0.0), SPAM_80, 0.04, "spam", "unsure", ("unfamiliar",)),
        (MULTI, SPAM_95, None, "spam", "spam", ()),  # a sigmoid of each logit
        (MULTI, SPAM_80, None, "spam", "unsure", ()),
        (MULTI, SPAM_95, 0.04, "spam", "unsure", ("unfamiliar",)),
    ],
)
def test_the_decision_is_the_label_where_it_is_sure_and_the_text_familiar(
    card: ModelCard,
    margin: float,
    familiarity: float | None,
    label: str,
    decision: str,
    marks: tuple[str, ...],
):
    made = decided(card, margin, familiarity)
    assert (made.label, made.decision, made.marks) == (label, decision, marks)
    assert made.decisions == (() if decision == "unsure" else (decision,))
    assert made.familiarity == familiarity
    assert made.scored


def test_several_labels_keep_their_thresholds_whatever_the_decision():
    assert decided(MULTI, SPAM_80).labels == ("spam",)
    assert decided(MULTI, -1.0).labels == (), "ham has 0.5, and needs 0.6"
    assert decided(MULTI, -1.0).decision == "none", "though ham may be acted on from 0 on"


@pytest.mark.parametrize(
    ("logits", "familiarity", "labels", "decisions", "decision"),
    [
        ([2.0, 3.0, -9.0], 0.5, "ab", "ab", "b"),  # each by its own score; the highest comes first
        ([2.0, 2.5, -9.0], 0.5, "ab", "a", "a"),  # b is given, and is not sure enough
        ([-9.0, 2.5, -9.0], 0.5, "b", "", "unsure"),
        ([-9.0, -9.0, 1.0], 0.5, "", "", "none"),  # c needs 0.8 to be given
        ([-9.0, -9.0, 1.5], 0.5, "c", "c", "c"),  # its bar is below its threshold
        ([2.0, 3.0, -9.0], 0.0, "ab", "", "unsure"),
        ([-9.0, -9.0, -9.0], 0.0, "", "", "unsure"),  # of a strange text nothing is known
    ],
)
def test_each_of_several_labels_is_acted_on_by_its_own_bar(
    logits: list[float], familiarity: float, labels: str, decisions: str, decision: str
):
    card = ModelCard(
        name="m",
        version="1",
        labels=("a", "b", "c"),
        problem="multi_label",
        thresholds={"c": 0.8},
        decide_at={"b": 0.95, "c": 0.1},
        familiar_at=0.05,
    )
    [made] = decide(np.array([logits], np.float32), card, np.array([10]), [familiarity])
    assert (made.labels, made.decisions) == (tuple(labels), tuple(decisions))
    assert made.decision == decision
    [wide] = decide(
        np.array([logits], np.float32), for_route(card, 0.0), np.array([10]), [familiarity]
    )
    assert wide.labels == made.labels, "a route's min_confidence gives no label"
    assert wide.decisions == (() if familiarity < 0.05 else made.labels)


def test_evidence_tells_how_sure_a_text_of_few_tokens_may_be():
    card = OPEN.model_copy(update={"evidence": 10.0, "temperature": 2.0})
    logits = np.array([[0.0, 8.0]] * 3, np.float32)
    ham, spam = probabilities(logits, card, np.array([1, 10, 10**9])).T
    assert spam == pytest.approx(1 / (1 + np.exp(-4 * np.array([1 / 11, 1 / 2, 1]))), abs=1e-6)
    assert ham + spam == pytest.approx(np.ones(3))


def test_the_span_tells_how_much_albert_counts_in_a_long_text():
    read = np.array([1, 60, 10**9])
    assert albert_shares(60.0, read) == pytest.approx([60 / 61, 0.5, 0], abs=1e-6)
    assert albert_shares(0.0, read).tolist() == [1, 1, 1], "a card of before has none"


def test_a_texts_length_is_what_it_gives_to_read():
    assert lengths([[2, 7, 8, 9, 3], [2, 7, 3], [2, 3], []]).tolist() == [3, 1, 1, 1]
    assert lengths([]).tolist() == []


def test_without_text_there_is_no_label_of_the_models():
    made = WITHOUT_TEXT
    assert (made.label, made.decision, made.marks) == ("unsure", "unsure", ("no_text",))
    assert (made.labels, made.confidence, made.scores, made.scored) == ((), 0.0, {}, False)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("decide_at", {"eggs": 0.5}, "decide_at name 1 labels .* as 'eggs'"),
        ("decide_at", {"spam": 1.5}, "less than or equal to 1"),
        ("thresholds", {"eggs": 0.5}, "thresholds name 1 labels .* as 'eggs'"),
        ("familiar_at", -0.1, "greater than or equal to 0"),
        ("evidence", -1, "greater than or equal to 0"),
        ("span", -1, "greater than or equal to 0"),
    ],
)
def test_a_card_that_cannot_be_is_refused(field: str, value: Any, says: str):
    with pytest.raises(ValidationError, match=says):
        ModelCard(name="m", version="1", labels=("ham", "spam"), **{field: value})


def test_a_card_of_before_says_nothing_of_decisions():
    card = ModelCard.model_validate_json('{"name": "m", "version": "1", "labels": ["a", "b"]}')
    assert (card.evidence, card.span, card.decide_at, card.familiar_at) == (0.0, 0.0, {}, None)
