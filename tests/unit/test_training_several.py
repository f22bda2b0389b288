"""What is measured and chosen where a text may have any number of labels."""

from __future__ import annotations

import numpy as np
import pytest

from stream_app.model.artifact import ModelCard
from training.judging import metrics
from training.judging.calibrate import as_choices
from training.judging.decisions import acted_on, decided
from training.judging.evaluate import Scored
from training.judging.figures import measure, measure_short
from training.judging.thresholds import Folded, given_out_of_fold, with_thresholds
from training.recipe import Decide

CARD = ModelCard(name="topics", version="1", labels=("a", "b", "c"), problem="multi_label")


def scored(rows: int, noise: float = 1.5, seed: int = 0) -> Scored:
    """Texts of none to three labels; `a` is common, `c` is rare and scored too low."""
    chance = np.random.default_rng(seed)
    truth = chance.random((rows, 3)) < (0.5, 0.3, 0.1)
    logits = chance.normal(np.where(truth, 3, -3) - np.array([0, 0, 3]), noise)
    return Scored(
        logits.astype(np.float32),
        truth,
        np.full(rows, 100),
        tokens=rows,
        seconds=1,
        slices={"source": ["examples"] * rows, "length": ["short", "long"] * (rows // 2)},
    )


def test_a_threshold_is_where_the_f1_is_best() -> None:
    card = with_thresholds(CARD, [scored(4000)])
    assert card.thresholds["c"] < 0.2 < card.thresholds["a"]
    plain, tuned = (measure(scored(4000, seed=1), each) for each in (CARD, card))
    assert tuned["per_label"]["c"]["f1"] > plain["per_label"]["c"]["f1"] + 0.1
    assert tuned["per_label"]["a"]["f1"] == pytest.approx(plain["per_label"]["a"]["f1"], abs=0.02)


@pytest.mark.parametrize("logit", [-40.0, 40.0])
def test_a_threshold_is_never_one_that_a_card_cannot_have(logit: float, tmp_path) -> None:
    truth = np.array([[True, False], [False, True]])
    logits = np.full((2, 2), logit, np.float32)
    found = with_thresholds(
        CARD.model_copy(update={"labels": ("a", "b")}),
        [Scored(logits, truth, np.full(2, 9), tokens=2, seconds=1)],
    )
    assert all(0 < each < 1 for each in found.thresholds.values())
    assert ModelCard.model_validate(found.model_dump()) == found


def test_a_single_word_is_not_given_every_label_because_nothing_is_sure_of_it() -> None:
    """Evidence pulls scores of few words to a half, above the low threshold of a rare label."""
    card, whole = CARD.model_copy(update={"evidence": 200.0}), scored(4000)
    chance = np.random.default_rng(7)
    blind = chance.normal((0, -2, -4), 1.0, (1000, 3)).astype(np.float32)
    truth = scored(1000, seed=8).truth
    words = Scored(blind, truth, np.ones(1000, np.int64), 1000, 1)
    alone, both = (with_thresholds(card, kinds) for kinds in ([whole], [whole, words]))
    many, few = (acted_on(words, each).sum(axis=1).mean() for each in (alone, both))
    assert few < many
    assert measure(words, both)["micro_f1"] >= measure(words, alone)["micro_f1"]


def test_a_label_that_no_text_has_or_every_text_has_no_threshold() -> None:
    truth = np.array([[True, False, True], [True, False, False]])
    zeros = np.zeros((2, 3), np.float32)
    found = with_thresholds(CARD, [Scored(zeros, truth, np.full(2, 9), 2, 1)])
    assert set(found.thresholds) == {"c"}


def test_thresholds_of_other_folds_are_not_better_than_they_are() -> None:
    """Scores that say nothing: by a threshold of their own texts a rare label looks found."""
    chance = np.random.default_rng(4)
    truth = chance.random((40, 3)) < 0.1
    nothing = Scored(chance.normal(size=(40, 3)).astype(np.float32), truth, np.full(40, 9), 40, 1)
    own = measure(nothing, with_thresholds(CARD, [nothing]))["macro_f1"]
    given = given_out_of_fold(CARD, Folded(nothing, np.arange(40) % 5))
    assert metrics.f1_of_several(truth, given)["macro_f1"] < own - 0.05


def test_every_figure_has_its_interval_and_each_label_its_own() -> None:
    found = measure(scored(400), CARD)
    assert set(found["intervals"]) == {"accuracy", "micro_f1", "macro_f1"}
    for name, (low, high) in found["intervals"].items():
        assert low < found[name] < high, name
        assert high - low < 0.2
    assert {"precision", "recall", "f1", "auc", "average_precision", "rows"} == set(
        found["per_label"]["a"]
    )
    assert found["slices"]["length"]["long"]["rows"] == 200
    assert set(found["slices"]["length"]["long"]["intervals"]) == set(found["intervals"])
    assert "confusion" not in found


def test_labels_that_no_text_has_count_in_no_mean() -> None:
    truth = np.array([[True, False], [True, False]])
    assert metrics.f1_of_several(truth, truth) == {"micro_f1": 1.0, "macro_f1": 1.0}
    nothing = np.zeros((2, 2), np.bool_)
    assert metrics.f1_of_several(nothing, nothing)["macro_f1"] == 0.0


def test_short_texts_are_told_of_too() -> None:
    assert measure_short(scored(100), CARD) == {}
    few = scored(100)
    found = measure_short(Scored(few.logits, few.truth, np.full(100, 5), 100, 1), CARD)
    assert found["rows"] == 100
    assert found["accuracy"] == measure(few, CARD)["accuracy"]


@pytest.mark.parametrize("most", [0.01, 0.05])
def test_each_label_has_a_bar_that_few_texts_without_it_reach(most: float) -> None:
    held = scored(4000)
    card, told = decided(
        with_thresholds(CARD, [held]), Decide(false_positives=dict.fromkeys("abc", most)), [held]
    )
    passes = acted_on(held, card)
    for column, label in enumerate("abc"):
        assert passes[~held.truth[:, column], column].mean() <= most
        rates = told["decisions"][label]["every_second_text"]["examples"]
        low, _ = rates["false_positive_rate"]["interval"]
        assert low <= most
    again = scored(4000, seed=9)
    assert (acted_on(again, card) & ~again.truth).mean() <= most * 1.5
    shares = measure(held, card)["decisions"]
    assert shares["decided"] + shares["unsure_though_right"] + shares["unsure_and_wrong"] == (
        pytest.approx(1, abs=0.001)
    )
    assert shares["right_of_decided"] > 0.9


def test_a_label_of_several_is_a_choice_of_two() -> None:
    logits, truth = as_choices(
        np.array([[1.0, -2.0]], np.float32), np.array([[True, False]]), "multi_label"
    )
    assert logits.tolist() == [[0, 1], [0, -2]]
    assert truth.tolist() == [1, 0]
