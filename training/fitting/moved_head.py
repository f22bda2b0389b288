"""Moves the n-gram head of a model towards corrections, and no further than they ask for.

What is fitted is the change of the head, a logistic regression beside all that the model says
already, with a penalty on every change: the head as it is has the say where nothing new is known.
In a Bayesian reading the old head is the mean of the prior. Texts that nobody labelled hold the
model in place too: their targets are its own scores (Li and Hoiem, "Learning without Forgetting",
2016).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, diags
from scipy.special import expit, log_softmax

from stream_app.model.artifact import Problem
from stream_app.model.ngrams import NgramHead
from training.fitting.ngrams import matrix, rarity, rounded

_ITERATIONS = 200


@dataclass(frozen=True, slots=True)
class Taught:
    """Texts to learn from. `logits` [texts, labels] are the model's own, which `divisors` [texts]
    calibrate; `targets` [texts, labels] are the probabilities to learn, where the problem is
    multi-label NaN for none, and each text counts `weights` [texts] times."""

    texts: list[str]
    logits: NDArray[np.float64]
    divisors: NDArray[np.float64]
    targets: NDArray[np.float64]
    weights: NDArray[np.float64]
    problem: Problem


def moved(head: NgramHead, taught: Taught, strength: float) -> NgramHead:
    """The head with the least cross-entropy over the texts and least change, calibrated as before.

    `strength` is the inverse of the L2 penalty, as in `fit_head`; an n-gram that is rare among the
    texts moves more easily than a frequent one, and one that a single text has not at all. The bias
    stays: corrections are no sample of how frequent a label is.
    """
    counted = matrix(taught.texts, head.features)
    moves = np.flatnonzero(rarity(counted))
    matters = rarity(counted)[moves]
    # in unit length, though the head may divide by another power of their number
    sizes = np.maximum(np.diff(counted.indptr), 1.0)
    scaled = sizes ** (0.5 - head.power) / taught.divisors
    features = diags(scaled) @ counted[:, moves] @ diags(matters)
    change = matters[:, None] * _change(features.tocsr(), taught, strength)
    weights = head.weights.astype(np.float64) * head.scale
    weights[moves] += change
    new = rounded(head.features, weights, head.bias)
    return replace(new, power=head.power, kin=head.kin, lean=head.lean)


def _change(features: csr_matrix, taught: Taught, strength: float) -> NDArray[np.float64]:
    """[features, labels]: what to add to the weights."""
    shape = features.shape[1], taught.targets.shape[1]
    known = taught.logits / taught.divisors[:, None]
    transposed = features.T.tocsr()
    cross_entropy = _of_one if taught.problem == "single_label" else _of_several

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        change = flat.reshape(shape)
        each, wrong = cross_entropy(known + features @ change, taught.targets)
        wrong *= taught.weights[:, None]
        total = strength * (taught.weights @ each) + (flat @ flat) / 2
        return float(total), (strength * (transposed @ wrong) + change).ravel()

    found = minimize(
        loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS}
    )
    return np.asarray(found.x.reshape(shape))


Floats = NDArray[np.float64]


def _of_one(logits: Floats, targets: Floats) -> tuple[Floats, Floats]:
    """Cross-entropy [texts] of logits [texts, labels], and its gradient by them."""
    said = log_softmax(logits, axis=1)
    return -(targets * said).sum(axis=1), np.exp(said) - targets


def _of_several(logits: Floats, targets: Floats) -> tuple[Floats, Floats]:
    """The same, summed over the labels of which something is to be learnt."""
    taught = ~np.isnan(targets)
    wanted = np.where(taught, targets, 0.0)
    each = np.where(taught, np.logaddexp(0, logits) - wanted * logits, 0.0)
    return each.sum(axis=1), np.where(taught, expit(logits) - wanted, 0.0)
