"""Fits the sparse n-gram head and its share in the sum with ALBERT's logits.

The head is a logistic regression over hashed n-grams. Those count more that are rare (inverse
document frequency) and, where the recipe says so, that one label has more often than the others
(the naive Bayes ratio of Wang and Manning, "Baselines and Bigrams", 2012, section 2.3). It learns
from its own sources, which may be far more text than ALBERT has time for; how much it counts beside
ALBERT, in long texts and short ones, and kinship beside both, is fitted on validation texts that
none has learnt from.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from sklearn.linear_model import LogisticRegression

from stream_app.core.errors import ConfigError
from stream_app.model.artifact import Artifact, Problem
from stream_app.model.decision import albert_shares
from stream_app.model.hashing import Buckets
from stream_app.model.kinship import Kinship, known_pairs, pairs
from stream_app.model.ngrams import Features, Logits, NgramHead, word_hashes
from training.data.augment import shortened
from training.data.corpus import Corpus
from training.judging.calibrate import as_choices, cross_entropy
from training.judging.evaluate import Scored, score, true_labels
from training.judging.figures import measure
from training.recipe import Ngrams

_log = logging.getLogger(__name__)
_POWERS = (0.5, 0.4, 0.3, 0.2, 0.1, 0.0)
_SHARES = np.concatenate([[0.0], np.geomspace(0.05, 20, 79)])  # each about 8 % above the last
_SPANS = (0.0, 30.0, 60.0, 120.0, 240.0)  # tokens; 0 is none
_WORTH = 0.001  # of the loss, at least, is what a span takes off: less may be chance
_STRENGTHS = np.concatenate([[0.0], np.geomspace(5, 640, 15)])  # of kinship: 41 % above the last
_LEAST_TEXTS = 2  # a bucket that fewer texts have says nothing of others
_ITERATIONS = 100
_SEED = 1


def add_head(
    artifact: Artifact, corpus: Corpus, how: Ngrams, engine: str
) -> tuple[float, dict[str, Any]]:
    """Fit a head for a model that has none, and write it into its folder; the span and figures for
    the card.

    Among the figures are those of either part alone. The card has to be sealed again afterwards.
    Raises ConfigError without validation texts.
    """
    card = artifact.card
    learnt = [ex for ex in (*corpus.train, *corpus.more) for _ in range(ex.times)]
    learnt += shortened(learnt, how.short_copies, _SEED)
    if not corpus.validation:
        raise ConfigError("an n-gram head needs validation texts: the recipe has none")
    truth = true_labels(learnt, card)
    head = fit_head([example.text for example in learnt], truth, how)
    held_out = corpus.validation + shortened(corpus.validation, how.short_copies, _SEED)
    albert = score(artifact, held_out, engine)
    texts = [example.text for example in held_out]
    span, served = spanned(head, texts, albert, card.problem)
    parts: dict[str, Any] = {}
    for name, examples in corpus.test.items():
        albert = score(artifact, examples, engine)
        alone = _alone(head, albert, [example.text for example in examples])
        told = (("albert", albert), ("ngrams", alone))
        parts[name] = {by: _brief(measure(scored, card)) for by, scored in told}
    served.save(artifact.path)
    fitted = {"power": served.power, "strength_of_kinship": served.kin and served.kin.strength}
    return span, {**how.model_dump(), **fitted, "texts": len(learnt), "alone": parts}


def fit_head(texts: Sequence[str], truth: NDArray[np.bool_], how: Ngrams) -> NgramHead:
    """The head for prepared `texts` whose labels are `truth` [texts, labels].

    Each label has its own regression against all the others: what sets one label apart, as
    the ratio sees it, is not what sets another apart. Of two labels that exclude each other one
    regression says it all.
    """
    features = Features(how.words, how.characters, how.bits)
    counted = matrix(texts, features)
    _log.info("n-gram head: %d texts, %d n-grams", len(texts), counted.nnz)
    length = np.maximum(np.diff(counted.indptr), 1.0) ** how.by_length
    teaches = length / length.mean()
    seen, rare = _seen(counted), rarity(counted)
    kept = np.flatnonzero(rare)  # of few texts, most buckets say nothing, or all of them
    kept = kept if kept.size else np.zeros(1, np.int64)
    several = counted[:, kept]
    present = np.flatnonzero(truth.any(axis=0) & ~truth.all(axis=0)).tolist()
    opposite = len(present) == 2 and bool((truth[:, present].sum(axis=1) == 1).all())
    weights = np.zeros((counted.shape[1], truth.shape[1]))
    bias = np.full(truth.shape[1], np.inf)
    for label in present[-1:] if opposite else present:
        inside = truth[:, label]
        matters = rare * _contrast(counted, inside, seen) ** how.by_contrast
        regression = LogisticRegression(C=how.strength, max_iter=_ITERATIONS)
        weighted = several @ diags(matters[kept].astype(np.float32))
        regression.fit(weighted, inside, sample_weight=teaches)
        weights[kept, label] = regression.coef_[0] * matters[kept]
        bias[label] = regression.intercept_[0]
    if opposite:
        first, second = present
        weights[:, second], bias[second] = weights[:, second] / 2, bias[second] / 2
        weights[:, first], bias[first] = -weights[:, second], -bias[second]
    head = rounded(features, weights, np.where(np.isinf(bias), bias.min(), bias))
    if not how.kinship:
        return head
    return replace(head, kin=Kinship(known_pairs([_pairs(text) for text in texts], truth), 1.0))


def matrix(texts: Sequence[str], features: Features) -> csr_matrix:
    """Binary features of unit length, float32 [texts, buckets]."""
    rows = [features.buckets(text) for text in texts]
    sizes = np.array([len(row) for row in rows])
    values = np.repeat((1 / np.sqrt(np.maximum(sizes, 1))).astype(np.float32), sizes)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    shape = len(texts), 1 << features.bits
    return csr_matrix((values, np.concatenate(rows), starts), shape=shape)


def rarity(counted: csr_matrix) -> NDArray[np.float64]:
    """[buckets]: the inverse document frequency, 0 in buckets that fewer than two texts have."""
    seen = _seen(counted)
    found = np.log((1 + counted.shape[0]) / (1 + seen)) + 1
    found[seen < _LEAST_TEXTS] = 0
    return np.asarray(found)


def _seen(counted: csr_matrix) -> NDArray[np.int64]:
    return np.bincount(counted.indices, minlength=counted.shape[1])


def _contrast(
    counted: csr_matrix, inside: NDArray[np.bool_], seen: NDArray[np.int64]
) -> NDArray[np.float64]:
    """How unevenly the texts `inside` and the rest have each bucket, [buckets], of which all
    texts together have it `seen` [buckets] times: the absolute logarithm of the ratio."""
    where = np.repeat(inside, np.diff(counted.indptr))  # of each n-gram of each text
    within = np.bincount(counted.indices[where], minlength=len(seen))
    ratio = np.log((1 + within) / (1 + seen - within))
    ratio -= np.log((len(seen) + within.sum()) / (len(seen) + (seen - within).sum()))
    return np.abs(ratio)


def spanned(
    head: NgramHead, texts: Sequence[str], albert: Scored, problem: Problem
) -> tuple[float, NgramHead]:
    """The span at which ALBERT's scores of `texts` serve best beside the head, 0 where length does
    not matter, and the head balanced beside it."""
    found: list[tuple[float, float, NgramHead]] = []
    for span in _SPANS:
        said = albert.logits * albert_shares(span, albert.lengths)[:, None]
        served = balanced(head, texts, said, albert.truth, problem)
        rows = as_choices(said + served.logits(texts), albert.truth, problem)
        found.append((cross_entropy(*rows) + (_WORTH if span else 0), span, served))
    _, span, served = min(found, key=lambda entry: entry[0])
    return span, served


def balanced(
    head: NgramHead,
    texts: Sequence[str],
    albert: Logits,
    truth: NDArray[np.bool_],
    problem: Problem,
) -> NgramHead:
    """The head as it serves best beside ALBERT: its share in the sum, and how far length counts;
    then how strong kinship is beside both.

    All have the least cross-entropy over `texts` that none has learnt from, with ALBERT's
    logits `albert` and labels `truth` [texts, labels]; the sum is judged at its own best
    temperature.
    """
    found: list[tuple[float, NgramHead]] = []
    sizes = np.array([max(1, len(head.features.buckets(text))) for text in texts])
    alone = replace(head, kin=None)
    sums = alone.logits(texts) - head.bias  # at power 0.5
    for power in _POWERS:
        typical = float(np.median(sizes)) ** (power - 0.5)  # a text of median length stays as it is
        stretch = (sizes ** (0.5 - power) * typical).astype(np.float32)
        for part in _SHARES:
            logits = albert + part * (sums * stretch[:, None] + head.bias)
            scale, bias = head.scale * np.float32(part * typical), head.bias * np.float32(part)
            fitted = replace(alone, scale=scale, bias=bias, power=power)
            found.append((cross_entropy(*as_choices(logits, truth, problem)), fitted))
    best = min(found, key=lambda entry: entry[0])[1]
    if head.kin is None:
        return best
    return replace(best, kin=_strong(head.kin, texts, albert + best.logits(texts), truth, problem))


def _strong(
    kin: Kinship,
    texts: Sequence[str],
    said: Logits,
    truth: NDArray[np.bool_],
    problem: Problem,
) -> Kinship | None:
    """Kinship as strong as it serves best beside all that is `said` [texts, labels] without it."""
    one = np.stack([replace(kin, strength=1.0).logits(_pairs(text)) for text in texts])
    losses = [
        cross_entropy(*as_choices(said + strength * one, truth, problem))
        for strength in _STRENGTHS.astype(np.float32)
    ]
    strength = float(_STRENGTHS[np.argmin(losses)])
    return replace(kin, strength=strength) if strength else None


def _pairs(text: str) -> Buckets:
    return pairs(word_hashes(text))


def rounded(
    features: Features, weights: NDArray[np.float64], bias: NDArray[np.floating[Any]]
) -> NgramHead:
    """A head of these weights [buckets, labels], a byte each."""
    scale = np.maximum(np.abs(weights).max(axis=0), 1e-9) / 127
    small = np.rint(weights / scale).astype(np.int8)
    return NgramHead(features, small, scale.astype(np.float32), bias.astype(np.float32))


def _alone(head: NgramHead, albert: Scored, texts: Sequence[str]) -> Scored:
    """The head's own scores of the texts that ALBERT scored."""
    return replace(albert, logits=head.logits(texts))


def _brief(figures: Mapping[str, Any]) -> dict[str, Any]:
    names = ("accuracy", "macro_f1", "accuracy_among_present", "recall_at_fpr")
    return {name: figures[name] for name in names if name in figures}
