"""At which score a multi-label model gives a text a label: where its F1 is highest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from stream_app.model.artifact import ModelCard
from stream_app.model.decision import probabilities
from training.judging.evaluate import Scored, labels_given, rows_of

_DIGITS = 4
_LEAST, _MOST = 10**-_DIGITS, 1 - 10**-_DIGITS  # a threshold of 0 or 1 would be none

Labels = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Folded:
    """Texts scored by models that have not learnt from them, and the number of the fold [texts]
    that each was held back in."""

    scored: Scored
    fold: NDArray[np.int64]


def with_thresholds(card: ModelCard, kinds: Sequence[Scored]) -> ModelCard:
    """The card with the thresholds that are best for texts which the model has not learnt from.

    Each of the `kinds`, such as whole texts and texts cut short, counts the same, however many it
    has: of few words nothing is sure, so that scores are nearer to a half (`evidence`), and by
    thresholds of whole texts alone a single word would get every label whose threshold is lower.
    A label that none of them has, or all have, has none.
    """
    some = [kind for kind in kinds if len(kind.truth)]
    scores = np.concatenate([probabilities(kind.logits, card, kind.lengths) for kind in some])
    truths = np.concatenate([kind.truth for kind in some])
    weights = np.concatenate([np.full(len(kind.truth), 1 / len(kind.truth)) for kind in some])
    columns = zip(card.labels, scores.T, truths.T, strict=True)
    found = {
        label: _best(of_label, truth, weights)
        for label, of_label, truth in columns
        if truth.any() and not truth.all()
    }
    return card.model_copy(update={"thresholds": found})


def given_out_of_fold(card: ModelCard, whole: Folded, also: Sequence[Folded] = ()) -> Labels:
    """[texts, labels]: which labels each of the `whole` texts is given by the thresholds that are
    best for all texts of the other folds.

    Thresholds look better than they are on the texts that chose them.
    """
    found = np.zeros(whole.scored.truth.shape, dtype=np.bool_)
    for number in np.unique(whole.fold):
        held = whole.fold == number
        others = [rows_of(kind.scored, kind.fold != number) for kind in (whole, *also)]
        found[held] = labels_given(rows_of(whole.scored, held), with_thresholds(card, others))
    return found


def _best(
    scores: NDArray[np.float32], truth: NDArray[np.bool_], weights: NDArray[np.float64]
) -> float:
    """Half way from the score of the highest F1 down to the next lower one."""
    precision, recall, at = precision_recall_curve(truth, scores, sample_weight=weights)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    best = int(f1[:-1].argmax())
    below = at[best - 1] if best else 0.0
    middle = round(float(at[best] + below) / 2, _DIGITS)
    return float(min(max(middle, _LEAST), _MOST))
