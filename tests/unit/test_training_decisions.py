"""The score at which a label may be acted on, and what it is promised to cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stream_app.model.artifact import ModelCard
from stream_app.model.decision import decide
from training.judging.decisions import Held, bar, decided
from training.judging.evaluate import Scored
from training.judging.metrics import exact_interval
from training.recipe import Decide

CARD = ModelCard(name="spam", version="1", labels=("ham", "spam"))


def scored(rows: int, source: str, shift: float = 0.0, seed: int = 0) -> Scored:
    """Half ham, half spam; `shift` makes this source's ham look more like spam."""
    chance = np.random.default_rng(seed)
    spam = np.arange(rows) % 4 > 1
    logit = chance.normal(np.where(spam, 4, -4 + shift), 1.5)
    logits = np.stack([-logit / 2, logit / 2], axis=1).astype(np.float32)
    return Scored(
        logits,
        np.stack([~spam, spam], axis=1),
        np.full(rows, 100),
        tokens=rows,
        seconds=1,
        slices={"source": [source] * rows},
    )


def passed(found: dict[str, Any], way: str, source: str) -> dict[str, Any]:
    return dict(found["decisions"]["spam"][way][source]["false_positive_rate"])


@pytest.mark.parametrize("most", [0.001, 0.01, 0.1])
def test_no_more_than_the_share_of_each_source_reaches_the_bar(most: float) -> None:
    chance = np.random.default_rng(1)
    source = np.repeat(["easy", "hard"], [8_000, 2_000])
    scores = chance.random(10_000).round(6) ** np.where(source == "hard", 0.3, 3)
    held = Held(scores.round(6), np.zeros(10_000, dtype=bool), source)
    found = bar(held, most)
    for name in ("easy", "hard"):
        assert (scores[source == name] >= found).mean() <= most
    assert (scores[source == "hard"] >= found - 0.02).mean() > most  # and it is not much too high


def test_too_few_texts_to_tell_let_none_pass() -> None:
    held = Held(np.array([0.7, 0.9]), np.zeros(2, dtype=bool), np.array(["a", "a"]))
    assert bar(held, 0.001) == pytest.approx(0.900001, abs=1e-6)


def test_without_texts_of_other_labels_there_is_no_bar() -> None:
    held = Held(np.array([0.9]), np.ones(1, dtype=bool), np.array(["a"]))
    assert bar(held, 0.001) == 0


def test_what_is_promised_was_counted_on_texts_that_chose_nothing() -> None:
    parts = [scored(4_000, "one", seed=1), scored(4_000, "two", shift=2, seed=2)]
    card, found = decided(CARD, Decide(false_positives={"spam": 0.01}), parts)
    assert set(card.decide_at) == {"spam"}
    assert 0.5 < card.decide_at["spam"] < 1
    for name in ("one", "two"):
        rate = passed(found, "every_second_text", name)
        assert rate["of"] == 2_000
        assert rate["share"] <= 0.02
        assert tuple(rate["interval"]) == exact_interval(rate["texts"], 2_000)
    # the bar of the easy source lets more of the hard one pass than was asked for, and says so
    assert passed(found, "source_never_seen", "two")["share"] > 0.02
    assert passed(found, "source_never_seen", "one")["share"] < 0.01


def test_the_text_that_set_the_bar_does_not_reach_it() -> None:
    """Scores are decided by as a label record has them, to six digits."""
    for seed in range(50):
        part = scored(400, "one", shift=3, seed=seed)
        card, _ = decided(CARD, Decide(false_positives={"spam": 0.0}), [part])
        made = decide(part.logits, card, part.lengths)
        ham = part.truth[:, 0]
        assert not [p for p, good in zip(made, ham, strict=True) if good and p.decision == "spam"]


def test_one_source_is_never_unseen() -> None:
    _, found = decided(CARD, Decide(false_positives={"spam": 0.01}), [scored(400, "one")])
    assert found["decisions"]["spam"]["source_never_seen"] == {}


def test_an_unfamiliar_text_is_not_decided_and_no_false_positive() -> None:
    part = scored(4_000, "one")
    strange = np.where(part.truth[:, 0], 0.0, 1.0)  # all ham
    scorer = Scored(**{**{f: getattr(part, f) for f in part.__slots__}, "familiarities": strange})
    card, found = decided(CARD, Decide(false_positives={"spam": 0.01}), [scorer])
    assert card.familiar_at == 0.01
    assert card.decide_at == {"spam": 0.0}
    assert passed(found, "every_second_text", "one")["texts"] == 0


def test_a_recipe_that_asks_for_nothing_gets_no_bars() -> None:
    card, found = decided(CARD, Decide(), [scored(40, "one")])
    assert (card.decide_at, card.familiar_at, found) == ({}, None, {})
