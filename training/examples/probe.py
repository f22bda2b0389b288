"""What is fitted to examples: a linear classifier on frozen embeddings, and an n-gram head beside.

The encoder stays as it is: a few hundred texts teach it nothing, and make it forget what it knows
(Kumar et al., "Fine-Tuning can Distort Pretrained Features", 2022). Each part is weak where the
other is strong: the embedding knows what texts mean, the head the words that give a label away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from stream_app.model.artifact import Problem
from stream_app.model.ngrams import NgramHead
from training.examples.bayes import fit_bayes
from training.fitting.ngrams import fit_head
from training.recipe import Ngrams

Array = NDArray[np.float32]
Truth = NDArray[np.bool_]  # [texts, labels]
Floats = NDArray[np.float64]

NGRAMS = Ngrams(words=1, bits=18, strength=10)
HEADS: Mapping[str, Callable[[Sequence[str], Truth, Ngrams], NgramHead]] = {
    "naive Bayes": fit_bayes,  # of one label a text; better with few texts
    "regression": fit_head,
}
STRENGTHS = (0.001, 0.003, 0.01, 0.05)  # inverse of the L2 penalty
_ITERATIONS = 300
_UNSEEN = 10.0  # logit of a label that every text has, or none


@dataclass(frozen=True, slots=True)
class Settings:
    """What is chosen out of fold: the linear part's strength, the kind of head, and how much the
    head counts in the sum of logits."""

    strength: float
    head: str
    share: float


@dataclass(frozen=True, slots=True)
class Learnable:
    """Prepared texts, their embeddings [texts, hidden] and labels [texts, labels], by name."""

    texts: Sequence[str]
    embedded: Array
    truth: Truth
    labels: tuple[str, ...]
    problem: Problem

    @property
    def heads(self) -> list[str]:
        """The kinds of head that can learn from them."""
        return list(HEADS) if self.problem == "single_label" else ["regression"]

    def at(self, rows: NDArray[np.int64]) -> Learnable:
        """Some of the texts."""
        texts = [self.texts[row] for row in rows.tolist()]
        return replace(self, texts=texts, embedded=self.embedded[rows], truth=self.truth[rows])


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

    def logits(self, texts: Sequence[str], embedded: Array) -> Array:
        """[texts, labels]."""
        return self.linear.logits(embedded) + self.head.logits(texts)


def fit_probe(learnt: Learnable, how: Settings) -> Probe:
    """Both parts, weighed."""
    head = HEADS[how.head](learnt.texts, learnt.truth, NGRAMS)
    share = np.float32(how.share)
    weighed = replace(head, scale=head.scale * share, bias=head.bias * share)
    return Probe(fit_linear(learnt, how.strength), weighed)


def fit_linear(learnt: Learnable, strength: float) -> Linear:
    """Logistic regression over standardised embeddings."""
    middle, spread = learnt.embedded.mean(axis=0), learnt.embedded.std(axis=0) + 1e-6
    fit = _fit_together if learnt.problem == "single_label" else _fit_each
    weight, bias = fit((learnt.embedded - middle) / spread, learnt.truth, strength)
    weight = weight / spread
    return Linear(weight.astype(np.float32), (bias - weight @ middle).astype(np.float32))


def _fit_together(standard: Array, truth: Truth, strength: float) -> tuple[Floats, Floats]:
    """One softmax over the labels."""
    fitted = LogisticRegression(C=strength, max_iter=_ITERATIONS)
    fitted.fit(standard, truth.argmax(axis=1))
    weight, bias = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:  # sklearn keeps the difference of the two
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    every = np.zeros((truth.shape[1], standard.shape[1])), np.full(truth.shape[1], -_UNSEEN)
    every[0][fitted.classes_], every[1][fitted.classes_] = weight, bias
    return every


def _fit_each(standard: Array, truth: Truth, strength: float) -> tuple[Floats, Floats]:
    """Each label against its absence."""
    weight = np.zeros((truth.shape[1], standard.shape[1]))
    bias = np.where(truth.all(axis=0), _UNSEEN, -_UNSEEN)
    for label, inside in enumerate(truth.T):
        if inside.any() and not inside.all():
            fitted = LogisticRegression(C=strength, max_iter=_ITERATIONS).fit(standard, inside)
            weight[label], bias[label] = fitted.coef_[0], fitted.intercept_[0]
    return weight, bias
