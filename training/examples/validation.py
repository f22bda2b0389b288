"""Cross-validation: what to expect of texts that are not among the examples.

Every text is scored by a model that has not learnt from it or from a near-duplicate of it, and by
TF-IDF with logistic regression, fitted on the same folds.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from stream_app.model.artifact import Problem
from training.data.split import groups
from training.examples.probe import Array, Learnable, Probe, Truth, fit_probe
from training.judging.calibrate import cross_entropy

_log = logging.getLogger(__name__)
_FOLDS = 5
_SHARES = np.concatenate([[0.0], np.geomspace(0.05, 20, 61)])  # each a tenth above the last
_TFIDF_STRENGTH = 30.0
Fold = tuple[NDArray[np.int64], NDArray[np.int64]]  # rows to learn from, rows to score


@dataclass(frozen=True, slots=True)
class Judged:
    """Out-of-fold logits [texts, labels] of the two parts of a probe, and of TF-IDF."""

    linear: Array
    head: Array
    tfidf: Array
    folds: Sequence[Fold]
    probes: Sequence[Probe]  # one a fold


def cross_validated(
    learnt: Learnable, whole: Array, problem: Problem, progress: Callable[[str], None]
) -> Judged:
    """Fit a model for each fold. `whole` [texts, hidden] are the texts' embeddings."""
    shape = learnt.truth.shape
    linear, head, tfidf = (np.zeros(shape, np.float32) for _ in range(3))
    every, probes = list(folds(learnt)), []
    for number, (rest, held) in enumerate(every, 1):
        progress(f"fold {number} of {len(every)}")
        probe = fit_probe(learnt.at(rest), problem)
        texts = [learnt.texts[row] for row in held.tolist()]
        linear[held], head[held] = probe.linear.logits(whole[held]), probe.head.logits(texts)
        known = [learnt.texts[row] for row in rest.tolist()]
        tfidf[held] = tfidf_logits(known, learnt.truth[rest], texts)
        probes.append(probe)
    return Judged(linear, head, tfidf, every, probes)


def folds(learnt: Learnable) -> Iterator[Fold]:
    """At most five, each label its share, near-duplicates in one fold."""
    rarest = int(learnt.truth.sum(axis=0).min())
    combined = np.unique(learnt.truth, axis=0, return_inverse=True)[1].ravel()
    split = StratifiedGroupKFold(max(2, min(_FOLDS, rarest)), shuffle=True, random_state=1)
    with warnings.catch_warnings():  # a combination of labels may have one text
        warnings.simplefilter("ignore", UserWarning)
        yield from split.split(combined, combined, groups(learnt.texts))


def best_share(linear: Array, head: Array, truth: Truth, problem: Problem) -> float:
    """How much the n-gram head counts beside the linear part: the least cross-entropy."""
    losses = [_loss(linear + np.float32(share) * head, truth, problem) for share in _SHARES]
    return float(_SHARES[int(np.argmin(losses))])


def _loss(logits: Array, truth: Truth, problem: Problem) -> float:
    if problem == "single_label":
        return cross_entropy(logits, truth.argmax(axis=1))
    pairs = np.stack([np.zeros_like(logits), logits], axis=-1).reshape(-1, 2)
    return cross_entropy(pairs, truth.ravel().astype(np.int64))


def tfidf_logits(known: Sequence[str], truth: Truth, texts: Sequence[str]) -> Array:
    """Word 1- and 2-grams by TF-IDF, and a logistic regression for each label [texts, labels]."""
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, dtype=np.float32)
    learnt, scored = vectorizer.fit_transform(known), vectorizer.transform(texts)
    logits = np.full((len(texts), truth.shape[1]), -np.inf, np.float32)
    if (truth.sum(axis=1) == 1).all():
        fitted = LogisticRegression(C=_TFIDF_STRENGTH, max_iter=300)
        fitted.fit(learnt, truth.argmax(axis=1))
        logits[:, fitted.classes_] = fitted.predict_log_proba(scored)
        return logits
    for label, inside in enumerate(truth.T):
        if inside.any() and not inside.all():
            fitted = LogisticRegression(C=_TFIDF_STRENGTH, max_iter=300).fit(learnt, inside)
            logits[:, label] = fitted.decision_function(scored)
    return logits
