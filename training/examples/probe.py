"""What is fitted to examples: a linear classifier on frozen embeddings, and an n-gram head beside.

The encoder stays as it is: a few hundred texts teach it nothing, and make it forget what it knows
(Kumar et al., "Fine-Tuning can Distort Pretrained Features", 2022). Each part is weak where the
other is strong: the embedding knows what texts mean, the head knows the words that give a label
away. How much each says in their sum is chosen on texts that neither has learnt from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from stream_app.model.artifact import Problem
from stream_app.model.ngrams import NgramHead
from training.fitting.ngrams import fit_head
from training.recipe import Ngrams

Array = NDArray[np.float32]
Truth = NDArray[np.bool_]  # [texts, labels]

NGRAMS = Ngrams(words=1, bits=18, strength=10)
STRENGTH = 0.003  # inverse of the L2 penalty on standardised embeddings
_ITERATIONS = 300


@dataclass(frozen=True, slots=True)
class Linear:
    """`weight` [labels, hidden] and `bias` [labels] of a classifier on embeddings."""

    weight: Array
    bias: Array

    def logits(self, embedded: Array) -> Array:
        """[texts, hidden] -> [texts, labels]."""
        return np.asarray(embedded @ self.weight.T + self.bias, np.float32)


@dataclass(frozen=True, slots=True)
class Probe:
    """Both parts; their logits are added."""

    linear: Linear
    head: NgramHead

    def weighed(self, share: float) -> Probe:
        """The probe whose head counts `share` times."""
        by = np.float32(share)
        return replace(
            self, head=replace(self.head, scale=self.head.scale * by, bias=self.head.bias * by)
        )


@dataclass(frozen=True, slots=True)
class Learnable:
    """Texts to learn from. `crops` are embeddings of parts of them, [crops, hidden], of the texts
    `crop_of` [crops]; every text is a crop of itself."""

    texts: Sequence[str]
    crops: Array
    crop_of: NDArray[np.int64]
    truth: Truth

    def at(self, rows: NDArray[np.int64]) -> Learnable:
        """Some of the texts."""
        kept = np.isin(self.crop_of, rows)
        place = {row: number for number, row in enumerate(rows.tolist())}
        return Learnable(
            [self.texts[row] for row in rows.tolist()],
            self.crops[kept],
            np.array([place[row] for row in self.crop_of[kept].tolist()]),
            self.truth[rows],
        )


def fit_probe(learnt: Learnable, problem: Problem) -> Probe:
    """Both parts by themselves, the head at share 1."""
    linear = fit_linear(learnt.crops, learnt.truth[learnt.crop_of], problem)
    return Probe(linear, fit_head(learnt.texts, learnt.truth, NGRAMS))


def fit_linear(embedded: Array, truth: Truth, problem: Problem) -> Linear:
    """Logistic regression over standardised embeddings [texts, hidden]; a label that no text or
    every text has is as sure as its share."""
    middle, spread = embedded.mean(axis=0), embedded.std(axis=0) + 1e-6
    standard = (embedded - middle) / spread
    labels = truth.shape[1]
    weight = np.zeros((labels, embedded.shape[1]))
    bias = np.full(labels, -_UNSEEN)
    if problem == "single_label":
        _fit_together(standard, truth, weight, bias)
    else:
        _fit_each(standard, truth, weight, bias)
    weight = weight / spread
    return Linear(weight.astype(np.float32), (bias - weight @ middle).astype(np.float32))


_UNSEEN = 10.0  # logit


def _fit_together(
    standard: Array, truth: Truth, weight: NDArray[np.float64], bias: NDArray[np.float64]
) -> None:
    """One softmax over the labels."""
    chosen = truth.argmax(axis=1)
    fitted = LogisticRegression(C=STRENGTH, max_iter=_ITERATIONS).fit(standard, chosen)
    if len(fitted.classes_) == 2:  # sklearn keeps the difference of the two
        weight[fitted.classes_] = np.concatenate([-fitted.coef_, fitted.coef_]) / 2
        bias[fitted.classes_] = np.concatenate([-fitted.intercept_, fitted.intercept_]) / 2
    else:
        weight[fitted.classes_], bias[fitted.classes_] = fitted.coef_, fitted.intercept_


def _fit_each(
    standard: Array, truth: Truth, weight: NDArray[np.float64], bias: NDArray[np.float64]
) -> None:
    """Each label against its absence."""
    for label, inside in enumerate(truth.T):
        if inside.any() and not inside.all():
            fitted = LogisticRegression(C=STRENGTH, max_iter=_ITERATIONS).fit(standard, inside)
            weight[label], bias[label] = fitted.coef_[0], fitted.intercept_[0]
        elif inside.all():
            bias[label] = _UNSEEN
