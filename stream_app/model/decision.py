"""From logits to a decision: evidence, temperature, softmax or sigmoid, thresholds, `unsure`.

A model gives each text the label of the highest score, or where the problem is multi-label every
label at or above its threshold. Those labels may be acted on, and are the `decisions`, whose score
also reaches their `decide_at`, if the text is familiar.

| decision | where                                                                        |
|----------|------------------------------------------------------------------------------|
| a label  | it is the highest of `decisions`                                             |
| `none`   | a multi-label model gives a familiar text no label                           |
| `unsure` | else: what is given may not be acted on; and where there is no text to score |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_app.core.messages import NONE, UNSURE, Prediction
from stream_app.model.artifact import ModelCard

NO_TEXT = "no_text"  # the marks of a prediction: why it is not the model's label
UNFAMILIAR = "unfamiliar"
SPECIAL_TOKENS = 2  # [CLS] and [SEP]

Lengths = NDArray[np.int64]

# of a message that shows something, but no words: no label of the model's, and no score
WITHOUT_TEXT = Prediction(UNSURE, (), 0.0, {}, UNSURE, marks=(NO_TEXT,))


def lengths(texts: Sequence[Sequence[int]]) -> Lengths:
    """[texts]: the tokens that each text gives a model to read, special ones not counted; at least
    one. `texts` are token ids as the tokenizer gives them."""
    counts = np.fromiter(map(len, texts), np.int64, len(texts))
    return np.maximum(counts - SPECIAL_TOKENS, 1)


def scaled(logits: NDArray[np.float32], card: ModelCard, lengths: Lengths) -> NDArray[np.float64]:
    """Calibrated logits, float64 [texts, labels], of `logits` of texts of so many tokens [texts].

    Temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", 2017, section 4.2),
    times the share n / (n + evidence) of a text of n tokens: the fewer words, the less is sure.
    """
    return np.asarray(logits.astype(np.float64) / divisors(card, lengths)[:, None])


def divisors(card: ModelCard, lengths: Lengths) -> NDArray[np.float64]:
    """[texts]: what the logits of texts of so many tokens are divided by."""
    return np.asarray(card.temperature * (1 + card.evidence / lengths))


def albert_shares(span: float, lengths: Lengths) -> NDArray[np.float32]:
    """[texts]: how much ALBERT's logits count in texts of so many tokens, span / (span + n).

    It reads a few hundred tokens at most, and a long text's verdict is in all of its words, which
    are the n-gram head's. A card without a `span` lets ALBERT count the same everywhere.
    """
    shares = span / (span + lengths) if span else np.ones(len(lengths))
    return np.asarray(shares, dtype=np.float32)


def probabilities(
    logits: NDArray[np.float32], card: ModelCard, lengths: Lengths
) -> NDArray[np.float32]:
    """Calibrated scores in [0, 1]: `[texts, labels]` in, the same shape out."""
    return activated(scaled(logits, card, lengths), card)


def activated(calibrated: NDArray[np.float64], card: ModelCard) -> NDArray[np.float32]:
    """The scores of calibrated logits: softmax, or for multi-label models sigmoid."""
    if card.problem == "multi_label":
        return np.asarray(np.exp(-np.logaddexp(0.0, -calibrated)), dtype=np.float32)
    exponent = np.exp(calibrated - calibrated.max(axis=1, keepdims=True))
    return np.asarray(exponent / exponent.sum(axis=1, keepdims=True), dtype=np.float32)


def given(scores: NDArray[np.floating[Any]], card: ModelCard) -> NDArray[np.bool_]:
    """[texts, labels]: which labels a model gives texts of these `scores` [texts, labels]."""
    if card.problem == "multi_label":
        return np.asarray(scores >= np.array([*map(card.given_from, card.labels)]))
    return np.asarray(np.eye(len(card.labels), dtype=np.bool_)[scores.argmax(axis=1)])


def for_route(card: ModelCard, min_confidence: float | None) -> ModelCard:
    """The card as a route decides by it: its `min_confidence`, if set, is that of every label."""
    if min_confidence is None:
        return card
    return card.model_copy(update={"decide_at": dict.fromkeys(card.labels, min_confidence)})


def decide(
    logits: NDArray[np.float32],
    card: ModelCard,
    lengths: Lengths,
    familiarities: Sequence[float | None] | None = None,
) -> list[Prediction]:
    """One prediction a row of `logits` [texts, labels]; None is a familiarity not measured."""
    scores = probabilities(logits, card, lengths)
    measured = [None] * len(logits) if familiarities is None else familiarities
    rows = zip(logits.argmax(axis=1), scores, measured, strict=True)
    return [_prediction(int(best), row, familiarity, card) for best, row, familiarity in rows]


def _prediction(
    best: int, row: NDArray[np.float32], familiarity: float | None, card: ModelCard
) -> Prediction:
    scores = {label: round(float(score), 6) for label, score in zip(card.labels, row, strict=True)}
    label = card.labels[best]
    labels: tuple[str, ...] = (label,)
    if card.problem == "multi_label":
        labels = tuple(k for k, score in scores.items() if score >= card.given_from(k))
    told, bar = None if familiarity is None else round(familiarity, 6), card.familiar_at
    strange = told is not None and bar is not None and told < bar
    decisions = () if strange else tuple(k for k in labels if scores[k] >= card.decided_from(k))
    nothing = UNSURE if labels or strange else NONE
    return Prediction(
        label,
        labels,
        scores[label],
        scores,
        decision=max(decisions, key=scores.__getitem__, default=nothing),
        decisions=decisions,
        familiarity=told,
        marks=(UNFAMILIAR,) if strange else (),
    )
