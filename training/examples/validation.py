"""Cross-validation: what to expect of texts that are not among the examples.

Every text is scored by a model that has not learnt from it or from a near-duplicate of it, and by
TF-IDF with logistic regression, fitted on the same folds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from stream_app.core.errors import ConfigError
from stream_app.model.artifact import Problem
from training.examples.found import LEAST
from training.examples.probe import (
    HEADS,
    STRENGTHS,
    Array,
    Learnable,
    Settings,
    Truth,
    fit_linear,
    unspaced,
)
from training.judging.calibrate import as_choices, cross_entropy

_FOLDS = 5
_SHARES = np.concatenate([[0.0], np.geomspace(0.05, 20, 30)])  # each a fifth above the last
_TFIDF_STRENGTH = 30.0
Fold = tuple[NDArray[np.int64], NDArray[np.int64]]  # rows to learn from, rows to score


@dataclass(frozen=True, slots=True)
class Judged:
    """Out-of-fold logits [texts, labels]: of linear parts by strength, of heads by kind, and of
    TF-IDF."""

    linear: Mapping[float, Array]
    heads: Mapping[str, Array]
    tfidf: Array
    folds: Sequence[Fold]

    @property
    def fold_of(self) -> NDArray[np.int64]:
        """[texts]: the number of the fold that each was scored in."""
        found = np.zeros(len(self.tfidf), dtype=np.int64)
        for number, (_, held) in enumerate(self.folds):
            found[held] = number
        return found

    def logits(self, how: Settings) -> Array:
        """Of the sum, [texts, labels]."""
        return self.linear[how.strength] + np.float32(how.share) * self.heads[how.head]


def cross_validated(
    learnt: Learnable, group: NDArray[np.int64], progress: Callable[[str], None]
) -> Judged:
    """Fit every candidate for each fold, and score the texts of the fold. Texts of a `group`
    [texts] are held back together."""
    judged = Judged(
        {strength: np.zeros(learnt.truth.shape, np.float32) for strength in STRENGTHS},
        {kind: np.zeros(learnt.truth.shape, np.float32) for kind in learnt.heads},
        np.zeros(learnt.truth.shape, np.float32),
        list(folds(learnt, group)),
    )
    for number, (rest, held) in enumerate(judged.folds, 1):
        progress(f"fold {number} of {len(judged.folds)}")
        known, texts = learnt.at(rest), [learnt.texts[row] for row in held.tolist()]
        for strength, logits in judged.linear.items():
            logits[held] = fit_linear(known, strength).logits(learnt.embedded[held])
        for kind, logits in judged.heads.items():
            logits[held] = HEADS[kind](known.texts, known.truth, learnt.ngrams).logits(texts)
        judged.tfidf[held] = tfidf_logits(known.texts, known.truth, texts)
    return judged


def folds(learnt: Learnable, group: NDArray[np.int64]) -> Iterator[Fold]:
    """At most five, each group in one of them; where texts have one label, each has its share.

    Raises ConfigError for a label all of whose texts are near-duplicates.
    """
    different = [len(np.unique(group[inside])) for inside in learnt.truth.T]
    if min(different) < LEAST:
        label = learnt.labels[int(np.argmin(different))]
        raise ConfigError(
            f"the examples of {label!r} are nearly one text: add different ones, or leave it out "
            "with --labels"
        )
    count = max(LEAST, min(_FOLDS, min(different)))
    chosen = learnt.truth.argmax(axis=1)
    if learnt.problem == "single_label":
        split = StratifiedGroupKFold(count, shuffle=True, random_state=1)
    else:
        split = GroupKFold(count, shuffle=True, random_state=1)
    for rest, held in split.split(chosen, chosen, group):
        if learnt.problem == "single_label" and not learnt.truth[rest].any(axis=0).all():
            raise ConfigError(
                "too many of the examples are near-duplicates: some label has none to learn from "
                "where they are held back together; add different ones"
            )
        yield rest, held


def best_settings(judged: Judged, truth: Truth, problem: Problem) -> Settings:
    """Those of the least cross-entropy out of fold, each sum at its own best temperature."""
    every = (
        Settings(strength, head, float(share))
        for strength in judged.linear
        for head in judged.heads
        for share in _SHARES
    )
    return min(every, key=lambda how: _loss(judged.logits(how), truth, problem))


def _loss(logits: Array, truth: Truth, problem: Problem) -> float:
    return cross_entropy(*as_choices(logits, truth, problem))


def tfidf_logits(known: Sequence[str], truth: Truth, texts: Sequence[str]) -> Array:
    """Word 1- and 2-grams by TF-IDF, or runs of up to 3 characters where texts have no spaces, and
    a logistic regression for each label [texts, labels]."""
    kind, longest = ("char", 3) if unspaced(known) else ("word", 2)
    vectorizer = TfidfVectorizer(
        analyzer=kind, ngram_range=(1, longest), sublinear_tf=True, dtype=np.float32
    )
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
