"""Kinship: how far a text is put together as the texts of each label were.

Of the n distinct pairs of neighbouring words of a text, the texts that a label was learnt from have
k. (k / (n + 20))² is its kinship with the label, and `strength` times that is added to the label's
logit. A text of a kind that nobody learnt from shares a third of its pairs with any label, and a
third of a third is next to nothing; what is kin to a label shares most. Twenty pairs more that
nobody knows keep a text of a few words from being kin to anything.

An n-gram counts in the head however strange the text is in which it comes. Here the rest of the
text says how much that is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.model.hashing import Buckets, Hashes, buckets, runs

BITS = 22  # of a pair's hash
MOST_LABELS = 16  # 4 MiB each
_STRANGE_PAIRS = 20


@dataclass(frozen=True, slots=True)
class Kinship:
    """`known` bool [labels, 2^22]: the pairs that texts of each label have, by their hashes."""

    known: NDArray[np.bool_]
    strength: float

    def logits(self, pairs: Buckets) -> NDArray[np.float32]:
        """[labels]: what is added for a text of these distinct pairs."""
        share = self.known[:, pairs].sum(axis=1) / (len(pairs) + _STRANGE_PAIRS)
        return np.asarray(self.strength * share**2, dtype=np.float32)


def pairs(words: Hashes) -> Buckets:
    """The distinct pairs of a text's words, given their hashes."""
    return buckets(runs(words, (2,))[0], BITS)


def known_pairs(texts: Sequence[Buckets], truth: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bool [labels, 2^22]: which pairs come in a text of each label; `truth` [texts, labels]."""
    known = np.zeros((truth.shape[1], 1 << BITS), dtype=bool)
    for found, labels in zip(texts, truth, strict=True):
        for label in np.flatnonzero(labels):
            known[label, found] = True
    return known
