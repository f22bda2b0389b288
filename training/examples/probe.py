"""What is fitted to examples: a linear classifier on embeddings, and an n-gram head beside.

The embeddings are the encoder's as it is, or as contrast has taught it. No classifier is fine-tuned
with it: a few hundred texts would make it forget what it knows (Kumar et al., "Fine-Tuning can
Distort Pretrained Features", 2022). Each part is weak where the other is strong: the embedding
knows what texts mean, the head the words that give a label away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from stream_app.engine.protocol import TokenIds
from stream_app.model.artifact import Artifact, Problem
from stream_app.model.ngrams import NgramHead
from training.examples.bayes import fit_bayes
from training.examples.embeddings import embeddings
from training.fitting.ngrams import fit_head
from training.recipe import Ngrams

Array = NDArray[np.float32]
Truth = NDArray[np.bool_]  # [texts, labels]
Floats = NDArray[np.float64]

WORDS = Ngrams(words=1, bits=18, strength=10)
CHARACTERS = Ngrams(words=0, characters=(1, 2, 3), bits=18, strength=10)
_LONGEST_WORD = 12  # characters; a Chinese text has no spaces between words
HEADS: Mapping[str, Callable[[Sequence[str], Truth, Ngrams], NgramHead]] = {
    "naive Bayes": fit_bayes,  # of one label a text; better with few texts
    "regression": fit_head,
}
STRENGTHS = (0.001, 0.003, 0.01, 0.05)  # inverse of the L2 penalty
_ITERATIONS = 300
_UNSEEN = 10.0  # logit of a label that every text has, or none


@dataclass(frozen=True, slots=True)
class Settings:
    """What is chosen out of fold: whether the encoder learns by contrast, the linear part's
    strength, the kind of head, and how much the head counts in the sum of logits."""

    contrast: bool
    strength: float
    head: str
    share: float


@dataclass(frozen=True, slots=True)
class Learnable:
    """Prepared texts, their token ids, embeddings [texts, hidden] and labels [texts, labels], by
    name."""

    texts: Sequence[str]
    ids: Sequence[TokenIds]
    embedded: Array
    truth: Truth
    labels: tuple[str, ...]
    problem: Problem

    @property
    def heads(self) -> list[str]:
        """The kinds of head that can learn from them."""
        return list(HEADS) if self.problem == "single_label" else ["regression"]

    @property
    def ngrams(self) -> Ngrams:
        """What a head reads: words, or runs of characters where texts have no spaces."""
        return CHARACTERS if unspaced(self.texts) else WORDS

    def at(self, rows: NDArray[np.int64]) -> Learnable:
        """Some of the texts."""
        texts = [self.texts[row] for row in rows.tolist()]
        ids = [self.ids[row] for row in rows.tolist()]
        embedded, truth = self.embedded[rows], self.truth[rows]
        return replace(self, texts=texts, ids=ids, embedded=embedded, truth=truth)

    def seen_by(self, encoder: Artifact) -> Learnable:
        """With the embeddings of another encoder."""
        return replace(self, embedded=embeddings(encoder, self.ids))


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
    with one_thread():
        head = HEADS[how.head](learnt.texts, learnt.truth, learnt.ngrams)
        share = np.float32(how.share)
        weighed = replace(head, scale=head.scale * share, bias=head.bias * share)
        return Probe(fit_linear(learnt, how.strength), weighed)


def one_thread() -> threadpool_limits:
    """The sums of a fit are so small that threads mostly wait for each other."""
    return threadpool_limits(1)


def unspaced(texts: Sequence[str]) -> bool:
    """Whether most texts have no spaces between words."""
    return float(np.median([len(text) / len(text.split()) for text in texts])) > _LONGEST_WORD


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
