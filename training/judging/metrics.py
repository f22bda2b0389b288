"""Figures of a classifier's scores, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

Floats = NDArray[np.floating[Any]]
Interval = tuple[float, float]

SURE = 0.95  # two-sided confidence of every interval
MOST_FALSE_POSITIVES = 0.001
_RESAMPLES = 2_000
_AT_ONCE = 100  # of those: a count for each text is kept of each
_CURVE_POINTS = 200


def rounded(value: Any) -> float:
    """As reports show it."""
    return round(float(value), 4)


def exact_interval(hits: int, rows: int) -> Interval:
    """The interval of a share `hits / rows`: Clopper and Pearson, "The use of confidence or
    fiducial limits illustrated in the case of the binomial", 1934."""
    half = (1 - SURE) / 2
    low = 0.0 if hits == 0 else beta.ppf(half, hits, rows - hits + 1)
    high = 1.0 if hits == rows else beta.ppf(1 - half, hits + 1, rows - hits)
    return rounded(low), rounded(high)


def recall_at_fpr(
    scores: Floats, positive: NDArray[np.bool_], most: float = MOST_FALSE_POSITIVES
) -> dict[str, Any]:
    """Recall of the positives [rows] where at most a share `most` of the negatives scores higher.

    The threshold is the lowest that these negatives allow, so the upper bound on the rate of false
    positives, not the rate itself, is what may be promised.
    """
    negatives = np.sort(scores[~positive])[::-1]
    allowed = int(most * len(negatives))
    threshold = float(negatives[allowed]) if allowed < len(negatives) else -np.inf
    false_positives = int((negatives > threshold).sum())
    hits, rows = int((scores[positive] > threshold).sum()), int(positive.sum())
    return {
        "most_false_positives": most,
        "threshold": round(threshold, 6),
        "recall": rounded(hits / max(1, rows)),
        "recall_interval": exact_interval(hits, rows),
        "false_positives": false_positives,
        "negatives": len(negatives),
        "false_positive_rate_interval": exact_interval(false_positives, len(negatives)),
    }


def intervals(confusion: NDArray[np.int64]) -> dict[str, Interval]:
    """Of accuracy, exact, and of macro-F1, by bootstrap, from the confusion matrix [truth,
    predicted].

    To draw rows again is to draw the matrix's cells from a multinomial distribution: Efron and
    Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    rows = int(confusion.sum())
    chance = np.random.default_rng(1)
    drawn = chance.multinomial(rows, (confusion / rows).ravel(), _RESAMPLES)
    tables = drawn.reshape(-1, *confusion.shape)
    hits = np.diagonal(tables, axis1=1, axis2=2)
    whole = tables.sum(axis=1) + tables.sum(axis=2)  # predicted + true rows of each label
    present = confusion.sum(axis=1) > 0
    f1 = (2 * hits / np.maximum(whole, 1))[:, present].mean(axis=1)
    return {
        "accuracy": exact_interval(int(np.trace(confusion)), rows),
        "macro_f1": _percentiles(f1),
    }


def intervals_of_several(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_]
) -> dict[str, Interval]:
    """The same where texts have several labels, and of micro-F1: whole texts are drawn again.
    `truth` and `predicted` are [rows, labels]."""
    rows = len(truth)
    right = int((truth == predicted).all(axis=1).sum())
    counted = np.concatenate([truth & predicted, truth + 1.0 * predicted], axis=1)
    chance = np.random.default_rng(1)
    drawn = np.concatenate(
        [
            chance.multinomial(rows, np.full(rows, 1 / rows), _AT_ONCE) @ counted
            for _ in range(_RESAMPLES // _AT_ONCE)
        ]
    )
    hits, told = np.split(drawn, 2, axis=1)
    present = truth.any(axis=0)
    f1 = (2 * hits / np.maximum(told, 1))[:, present].mean(axis=1)
    return {
        "accuracy": exact_interval(right, rows),
        "micro_f1": _percentiles(2 * hits.sum(axis=1) / np.maximum(told.sum(axis=1), 1)),
        "macro_f1": _percentiles(f1),
    }


def f1_of_several(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> dict[str, float]:
    """Micro-F1, and the mean F1 of the labels that are true somewhere; both are [rows, labels]."""
    hits, told = (truth & predicted).sum(axis=0), truth.sum(axis=0) + predicted.sum(axis=0)
    present = truth.any(axis=0)
    each = (2 * hits / np.maximum(told, 1))[present]
    return {
        "micro_f1": rounded(2 * hits.sum() / max(1, told.sum())),
        "macro_f1": rounded(each.mean() if present.any() else 0.0),
    }


def macro_f1(confusion: NDArray[np.int64]) -> float:
    """Mean F1 of the labels that are true somewhere in a confusion matrix [truth, predicted]."""
    whole = confusion.sum(axis=0) + confusion.sum(axis=1)
    present = confusion.sum(axis=1) > 0
    return rounded((2 * np.diagonal(confusion) / np.maximum(whole, 1))[present].mean())


def ranking(scores: Floats, positive: NDArray[np.bool_]) -> dict[str, float]:
    """Areas under the ROC and the precision-recall curve; none where all rows are of one kind."""
    if positive.all() or not positive.any():
        return {}
    return {
        "auc": rounded(roc_auc_score(positive, scores)),
        "average_precision": rounded(average_precision_score(positive, scores)),
    }


def curves(scores: Floats, positive: NDArray[np.bool_]) -> dict[str, list[list[float]]]:
    """Points [x, y] of the ROC curve (false-positive rate, recall) and of recall and precision."""
    if positive.all() or not positive.any():
        return {}
    false_positive_rate, recall, _ = roc_curve(positive, scores)
    precision, recalled, _ = precision_recall_curve(positive, scores)
    return {
        "roc": _points(false_positive_rate, recall),
        "precision_recall": _points(recalled[::-1], precision[::-1]),
    }


def reliability(
    confidence: Floats, correct: NDArray[np.bool_], bins: int = 15
) -> list[list[float]]:
    """[mean confidence, share that is right, rows] of each bin of confidence that has rows."""
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        [rounded(confidence[at].mean()), rounded(correct[at].mean()), int(at.sum())]
        for at in (bin_of == number for number in range(bins))
        if at.any()
    ]


def length_slices(lengths: Sequence[int]) -> list[str]:
    """For each number of words the range that it falls in."""
    edges = (32, 128, 512)
    names = ("up to 32 words", "33 to 128 words", "129 to 512 words", "over 512 words")
    return [names[int(np.searchsorted(edges, length))] for length in lengths]


def _percentiles(values: Floats) -> Interval:
    low, high = np.quantile(values, [(1 - SURE) / 2, (1 + SURE) / 2])
    return rounded(low), rounded(high)


def _points(x: Floats, y: Floats) -> list[list[float]]:
    """At most so many points of a curve, the ends among them."""
    kept = np.unique(np.linspace(0, len(x) - 1, _CURVE_POINTS).round().astype(int))
    return [[rounded(a), rounded(b)] for a, b in zip(x[kept], y[kept], strict=True)]
