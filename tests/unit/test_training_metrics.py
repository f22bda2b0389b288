"""Intervals, the recall that a false-positive rate allows, and curves, against known values."""

from __future__ import annotations

import numpy as np
import pytest

from training.judging import metrics


def test_exact_intervals_are_those_of_the_tables() -> None:
    # Clopper and Pearson's rule of three: nothing in 4,150 is at most 0.09 % with 95 % on two sides
    assert metrics.exact_interval(0, 4_150) == (0.0, pytest.approx(0.0009, abs=5e-5))
    assert metrics.exact_interval(10, 100) == (0.0490, 0.1762)
    assert metrics.exact_interval(5, 5)[1] == 1.0


def test_recall_counts_what_scores_above_all_but_the_allowed_negatives() -> None:
    negatives = np.linspace(0, 0.5, 2_000)  # 0.1 % allows two of them
    positives = np.array([0.4, 0.4994, 0.6, 0.9])
    scores = np.concatenate([negatives, positives])
    found = metrics.recall_at_fpr(scores, np.arange(len(scores)) >= 2_000)
    assert (found["false_positives"], found["recall"]) == (2, 0.5)
    assert found["false_positive_rate_interval"][1] > 0.001


def test_ties_at_the_threshold_are_not_called_positive() -> None:
    scores = np.array([0.9, 0.9, 0.9, 0.9])
    found = metrics.recall_at_fpr(scores, np.array([True, True, False, False]))
    assert (found["recall"], found["false_positives"]) == (0.0, 0)


def test_intervals_shrink_with_rows_and_that_of_accuracy_is_exact() -> None:
    few, many = (metrics.intervals(np.array([[40, 10], [10, 40]]) * times) for times in (1, 100))
    assert few["accuracy"] == metrics.exact_interval(80, 100)
    assert metrics.intervals(np.array([[30, 0], [0, 30]]))["accuracy"][0] < 0.95
    width = [each["macro_f1"][1] - each["macro_f1"][0] for each in (few, many)]
    assert width[1] < width[0] / 8


def test_macro_f1_leaves_out_labels_that_are_never_true() -> None:
    table = np.array([[5, 0, 1], [0, 4, 0], [0, 0, 0]])
    assert metrics.macro_f1(table) == pytest.approx((10 / 11 + 1) / 2, abs=1e-4)


def test_curves_are_short_and_begin_and_end_where_curves_do() -> None:
    chance = np.random.default_rng(1)
    positive = chance.random(5_000) < 0.3
    scores = positive * 0.5 + chance.random(5_000)
    found = metrics.curves(scores, positive)
    assert found["roc"][0] == [0.0, 0.0]
    assert found["roc"][-1] == [1.0, 1.0]
    assert max(map(len, found.values())) <= 200
    assert metrics.curves(scores, np.ones(5_000, bool)) == {}


def test_lengths_fall_in_named_slices() -> None:
    names = metrics.length_slices([2, 32, 33, 512, 513])
    assert names[0] == names[1] == "up to 32 words"
    assert names[2:] == ["33 to 128 words", "129 to 512 words", "over 512 words"]
