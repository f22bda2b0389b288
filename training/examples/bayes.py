"""An n-gram head by complement naive Bayes, which learns from fewer texts than a regression does.

Rennie et al., "Tackling the Poor Assumptions of Naive Bayes Text Classifiers", 2003: a label's
weights come from the texts of all the others, of which there are more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import diags
from sklearn.naive_bayes import ComplementNB

from stream_app.model.ngrams import Features, NgramHead
from training.fitting.ngrams import matrix, rounded
from training.recipe import Ngrams

_SMOOTHING = 1.0
_UNSEEN = -10.0  # logit of a label without texts


def fit_bayes(texts: Sequence[str], truth: NDArray[np.bool_], how: Ngrams) -> NgramHead:
    """The head for prepared `texts` of one label each, `truth` [texts, labels].

    An n-gram that no text has says nothing of any label.
    """
    features = Features(how.words, how.characters, how.bits)
    counted = matrix(texts, features)
    seen = np.bincount(counted.indices, minlength=counted.shape[1])
    kept = np.flatnonzero(seen)
    rare = np.log((1 + len(texts)) / (1 + seen[kept])) + 1
    bayes = ComplementNB(alpha=_SMOOTHING)
    bayes.fit(counted[:, kept] @ diags(rare), truth.argmax(axis=1))
    told = bayes.feature_log_prob_  # [labels that have texts, kept]
    weights = np.zeros((counted.shape[1], truth.shape[1]))
    weights[np.ix_(kept, bayes.classes_)] = ((told - told.mean(axis=0)) * rare).T
    bias = np.full(truth.shape[1], _UNSEEN)
    bias[bayes.classes_] = 0
    return rounded(features, weights, bias)
