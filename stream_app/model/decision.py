"""From logits to a decision: temperature, softmax or sigmoid, thresholds, `unsure`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stream_app.core.messages import Prediction
from stream_app.model.artifact import ModelCard

UNSURE = "unsure"


def probabilities(logits: NDArray[np.float32], card: ModelCard) -> NDArray[np.float32]:
    """Calibrated scores in [0, 1]: `[batch, labels]` in, the same shape out.

    Temperature scaling: Guo et al., "On Calibration of Modern Neural Networks", 2017, section 4.2.
    """
    scaled: NDArray[np.float64] = logits.astype(np.float64) / card.temperature
    if card.problem == "multi_label":
        return np.asarray(np.exp(-np.logaddexp(0.0, -scaled)), dtype=np.float32)
    exponent = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exponent / exponent.sum(axis=1, keepdims=True), dtype=np.float32)


def decide(
    logits: NDArray[np.float32], card: ModelCard, min_confidence: float = 0.0
) -> list[Prediction]:
    """One prediction a row of `logits` `[batch, labels]`; below `min_confidence` it is `unsure`."""
    return [_prediction(row, card, min_confidence) for row in probabilities(logits, card)]


def _prediction(row: NDArray[np.float32], card: ModelCard, min_confidence: float) -> Prediction:
    scores: Mapping[str, float] = {
        label: round(float(score), 6) for label, score in zip(card.labels, row, strict=True)
    }
    label = card.labels[int(row.argmax())]
    confidence = scores[label]
    if card.problem == "multi_label":
        labels = tuple(k for k, v in scores.items() if v >= card.thresholds.get(k, 0.5))
    else:
        labels = (label,)
    decision = label if confidence >= min_confidence else UNSURE
    return Prediction(label, labels, confidence, scores, decision)
