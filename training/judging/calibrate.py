"""Calibration: two numbers that make a model's confidence match its accuracy, at every length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from stream_app.model.artifact import Problem

Real = TypeVar("Real", np.float32, np.float64)

_CANDIDATES = np.geomspace(0.1, 100, 601)  # each about 1 % above the one before

_EVIDENCES = (0.0, *np.geomspace(0.5, 128, 33).round(2).tolist())  # each a fifth above the last


@dataclass(frozen=True, slots=True)
class Outcomes:
    """`logits` [rows, labels] of texts of `lengths` tokens [rows], and `truth` [rows] label
    indexes."""

    logits: NDArray[np.float32]
    lengths: NDArray[np.int64]
    truth: NDArray[np.int64]

    def at(self, evidence: float) -> NDArray[np.float32]:
        """The logits as they count where the card has this `evidence`."""
        return (self.logits / (1 + evidence / self.lengths)[:, None]).astype(np.float32)


def as_choices(
    logits: NDArray[Real], truth: NDArray[np.bool_], problem: Problem
) -> tuple[NDArray[Real], NDArray[np.int64]]:
    """`logits` and `truth` [texts, labels] as logits [rows, choices] of which one index [rows] is
    true: a row a text; or where the problem is multi-label a row for each label of each text, yes
    or no, since a sigmoid is a softmax over the logit and 0."""
    if problem == "single_label":
        return logits, np.asarray(truth.argmax(axis=1), dtype=np.int64)
    pairs = np.stack([np.zeros_like(logits), logits], axis=-1).reshape(-1, 2)
    return pairs, truth.ravel().astype(np.int64)


def temperature_and_evidence(kinds: Sequence[Outcomes]) -> tuple[float, float]:
    """What the logits are divided by, and the tokens at which they count half.

    The pair with the least negative log-likelihood on the mean of the `kinds`, such as a source's
    texts and its texts cut short: each counts the same, however many it has. One and none without.
    """
    if not kinds:
        return 1.0, 0.0
    fits = [_best([(of.at(each), of.truth) for of in kinds]) for each in _EVIDENCES]
    least = int(np.argmin([loss for _, loss in fits]))
    return round(fits[least][0], 4), _EVIDENCES[least]


def temperature(logits: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """The divisor of the logits with the least negative log-likelihood.

    `logits` [rows, labels], `truth` [rows] label indexes; 1.0 without rows. Guo et al., "On
    Calibration of Modern Neural Networks", 2017, section 4.2.
    """
    if not len(truth):
        return 1.0
    return round(_best([(logits, truth)])[0], 4)


def cross_entropy(logits: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """The mean negative log-likelihood of `truth` [rows] under `logits` at their best divisor."""
    return _best([(logits, truth)])[1]


def calibration_error(
    confidence: NDArray[np.float32], correct: NDArray[np.bool_], bins: int = 15
) -> float:
    """Expected calibration error in [0, 1] over equally wide bins of `confidence` [rows].

    Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", 2015.
    """
    gap = np.bincount(_bins(confidence, bins), weights=correct.astype(float) - confidence)
    return float(np.abs(gap).sum() / max(1, len(confidence)))


def error_by_chance(confidence: NDArray[np.float32], bins: int = 15) -> float:
    """The calibration error to expect of so few texts though each `confidence` [rows] be right.

    Each bin's sum of gaps is taken as normal, its variance being that of independent texts.
    """
    exact = confidence.astype(np.float64)
    variance = np.bincount(_bins(confidence, bins), weights=exact * (1 - exact))
    return float(np.sqrt(2 / np.pi * variance).sum() / max(1, len(confidence)))


def _bins(confidence: NDArray[np.float32], bins: int) -> NDArray[np.int64]:
    return np.minimum((confidence * bins).astype(np.int64), bins - 1)


def _best(kinds: Sequence[tuple[NDArray[np.float32], NDArray[np.int64]]]) -> tuple[float, float]:
    """The best candidate and its loss, the mean of the `kinds` of logits and truth. It is convex in
    the divisor's inverse: it falls, then rises, and half of the interval can be ruled out at each
    step."""
    exact = [(logits.astype(np.float64), truth) for logits, truth in kinds]

    def loss(at: int) -> float:
        return float(np.mean([loss_of(each / _CANDIDATES[at], truth) for each, truth in exact]))

    low, high = 0, len(_CANDIDATES) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if loss(middle) <= loss(middle + 1) else (middle + 1, high)
    return float(_CANDIDATES[low]), loss(low)


def loss_of(scaled: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """The mean negative log-likelihood of `truth` [rows] under calibrated logits [rows, labels]."""
    top = scaled.max(axis=1)
    normalizer = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
    return float((normalizer - scaled[np.arange(len(truth)), truth]).mean())
