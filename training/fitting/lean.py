"""What it says of a text that it has few words.

A head's bias is right for texts of the length that it learnt from, and in a corpus a mail of one
word is spam more often than not where most people get such mail from their friends. So one number a
label, of which a text has the less the more words it has, is fitted to whole held-out texts and to
copies of them cut short. Each source of texts counts the same, whole and cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from stream_app.core.errors import ConfigError
from stream_app.model.artifact import Artifact, Problem
from stream_app.model.ngrams import Logits, fewness, load_head, word_hashes
from training.data.corpus import Example
from training.judging.calibrate import as_choices, loss_of
from training.judging.evaluate import Scored, sources

Part = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]


def lean_again(
    model: Artifact, kinds: Sequence[Sequence[Example]], said: Sequence[Scored]
) -> list[Scored]:
    """Fit how the model's head leans to examples of several `kinds`, such as whole texts and texts
    cut short, write it, and tell what is `said` of them now.

    Raises ConfigError for a model without a head.
    """
    head = load_head(model)
    if head is None:
        raise ConfigError(f"{model.card.name} has no n-gram head that could lean: add ngrams first")
    few = [_fewness(examples) for examples in kinds]
    before = np.zeros_like(head.bias) if head.lean is None else head.lean
    upright = [
        replace(scored, logits=scored.logits - of_kind * before)
        for scored, of_kind in zip(said, few, strict=True)
    ]
    parts = [
        (scored.logits[rows], of_kind[rows], scored.truth[rows])
        for scored, of_kind in zip(upright, few, strict=True)
        for rows in sources(scored)
    ]
    lean = leaning(parts, model.card.problem)
    replace(head, lean=lean).save(model.path)
    return [
        replace(scored, logits=scored.logits + of_kind * lean)
        for scored, of_kind in zip(upright, few, strict=True)
    ]


def leaning(parts: Sequence[Part], problem: Problem) -> Logits:
    """[labels]: the lean with the least mean cross-entropy over the `parts`, at the temperature
    that is best with it.

    A part is logits [texts, labels], how few words [texts, 1] each text has, and truth [texts,
    labels].
    """
    labels = parts[0][0].shape[1]

    def loss(found: NDArray[np.float64]) -> float:
        """Of the logarithm of a temperature, and the lean as it counts behind it."""
        losses = [
            loss_of(*as_choices(said / np.exp(found[0]) + few * found[1:], truth, problem))
            for said, few, truth in parts
        ]
        return float(np.mean(losses))

    best = minimize(loss, np.zeros(1 + labels), method="BFGS").x
    lean = best[1:] * np.exp(best[0])
    return np.asarray(lean - (lean.mean() if problem == "single_label" else 0), np.float32)


def _fewness(examples: Sequence[Example]) -> Logits:
    """[texts, 1]"""
    counts = [len(word_hashes(example.text)) for example in examples]
    return np.array([[fewness(words)] for words in counts], np.float32).reshape(-1, 1)
