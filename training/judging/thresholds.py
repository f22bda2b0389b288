"""At which score a multi-label model gives a text a label: where its F1 is highest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from stream_app.model.artifact import ModelCard
from stream_app.model.decision import probabilities
from training.judging.evaluate import Scored, labels_given, rows_of

_DIGITS = 4
_LEAST, _MOST = 10**-_DIGITS, 1 - 10**-_DIGITS  # a threshold of 0 or 1 would be none


def with_thresholds(card: ModelCard, scored: Scored) -> ModelCard:
    """The card with the thresholds that are best for texts which the model has not learnt from.

    A label that none of them has, or all have, has none.
    """
    scores = probabilities(scored.logits, card, scored.lengths)
    columns = zip(card.labels, scores.T, scored.truth.T, strict=True)
    found = {
        label: _best(of_label, truth)
        for label, of_label, truth in columns
        if truth.any() and not truth.all()
    }
    return card.model_copy(update={"thresholds": found})


def given_out_of_fold(
    card: ModelCard, scored: Scored, fold: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """[texts, labels]: which labels each text is given by the thresholds that are best for the
    texts of the other folds; `fold` [texts] are their numbers.

    Thresholds look better than they are on the texts that chose them.
    """
    found = np.zeros(scored.truth.shape, dtype=np.bool_)
    for number in np.unique(fold):
        held = fold == number
        of_others = with_thresholds(card, rows_of(scored, ~held))
        found[held] = labels_given(rows_of(scored, held), of_others)
    return found


def _best(scores: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    """Half way from the score of the highest F1 down to the next lower one."""
    precision, recall, at = precision_recall_curve(truth, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    best = int(f1[:-1].argmax())
    below = at[best - 1] if best else 0.0
    middle = round(float(at[best] + below) / 2, _DIGITS)
    return float(min(max(middle, _LEAST), _MOST))
