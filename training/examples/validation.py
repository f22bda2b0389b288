"""Cross-validation: what to expect of texts that are not among the examples.

Every text is scored by a model that has not learnt from it or from a near-duplicate of it, and by
TF-IDF with logistic regression, fitted on the same folds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from stream_app.core.errors import ConfigError
from stream_app.model.artifact import Artifact, Problem
from training.examples.found import LEAST
from training.examples.probe import (
    HEADS,
    STRENGTHS,
    Array,
    Learnable,
    Settings,
    Truth,
    fit_linear,
    one_thread,
    unspaced,
)
from training.judging.calibrate import as_choices, cross_entropy

_FOLDS = 5
_SHARES = np.concatenate([[0.0], np.geomspace(0.05, 20, 30)])  # each a fifth above the last
_TFIDF_STRENGTH = 30.0
Rows = NDArray[np.int64]
Taught = Callable[[str, Learnable], Artifact]  # the encoder after contrast, in a folder of a name


@dataclass(frozen=True, slots=True)
class Fold:
    """Rows to learn from, rows to score, the encoder after contrast with the former, and all texts
    as it saw them before contrast and after."""

    rest: Rows
    held: Rows
    encoder: Artifact
    seen: Mapping[bool, Learnable]


@dataclass(frozen=True, slots=True)
class Judged:
    """Out-of-fold logits [texts, labels]: of linear parts by contrast and strength, of heads by
    kind, and of TF-IDF."""

    linear: Mapping[tuple[bool, float], Array]
    heads: Mapping[str, Array]
    tfidf: Array
    folds: list[Fold]

    @property
    def fold_of(self) -> NDArray[np.int64]:
        """[texts]: the number of the fold that each was scored in."""
        found = np.zeros(len(self.tfidf), dtype=np.int64)
        for number, fold in enumerate(self.folds):
            found[fold.held] = number
        return found

    def logits(self, how: Settings) -> Array:
        """Of the sum, [texts, labels]."""
        linear = self.linear[how.contrast, how.strength]
        return linear + np.float32(how.share) * self.heads[how.head]


def cross_validated(
    learnt: Learnable, group: Rows, taught: Taught, progress: Callable[[str], None]
) -> Judged:
    """Fit every candidate for each fold, and score the texts of the fold. Texts of a `group`
    [texts] are held back together."""
    none = np.zeros(learnt.truth.shape, np.float32)
    linear = {how: none.copy() for how in product((False, True), STRENGTHS)}
    judged = Judged(linear, {kind: none.copy() for kind in learnt.heads}, none, [])
    parts = list(folds(learnt, group))
    for number, (rest, held) in enumerate(parts, 1):
        progress(f"fold {number} of {len(parts)}")
        encoder = taught(f"fold-{number}", learnt.at(rest))
        fold = Fold(rest, held, encoder, {False: learnt, True: learnt.seen_by(encoder)})
        with one_thread():
            _score(fold, judged)
        judged.folds.append(fold)
    return judged


def _score(fold: Fold, into: Judged) -> None:
    for (contrast, strength), logits in into.linear.items():
        seen = fold.seen[contrast]
        fitted = fit_linear(seen.at(fold.rest), strength)
        logits[fold.held] = fitted.logits(seen.embedded[fold.held])
    known, held = fold.seen[False].at(fold.rest), fold.seen[False].at(fold.held)
    for kind, logits in into.heads.items():
        head = HEADS[kind](known.texts, known.truth, fold.seen[False].ngrams)
        logits[fold.held] = head.logits(held.texts)
    into.tfidf[fold.held] = tfidf_logits(known.texts, known.truth, held.texts)


def folds(learnt: Learnable, group: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Rows to learn from and rows to score, at most five times: each group is scored once, and
    where texts have one label, each label has its share.

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
        Settings(contrast, strength, head, float(share))
        for contrast, strength in judged.linear
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
