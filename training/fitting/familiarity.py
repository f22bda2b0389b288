"""Makes a model's `familiarity.safetensors` from the texts that it learnt from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np

from stream_app.model.artifact import FAMILIARITY
from stream_app.model.familiarity import (
    PAIR_BITS,
    WORD_BITS,
    Familiarity,
    Known,
    is_unspaced,
    words_and_pairs,
)
from training.data.corpus import Corpus

_LEAST_TEXTS = 2  # a word that fewer texts have may be a slip
_UNSPACED = 0.01  # of the training texts: with fewer, too few pairs of letters are known
_SHARES = np.linspace(0, 1, 1_001)


def write_familiarity(out: Path, corpus: Corpus) -> None:
    """Write the measure into the model's folder `out`; without training texts there is none.

    The card has to be sealed again afterwards.
    """
    (out / FAMILIARITY).unlink(missing_ok=True)
    learnt = [example.text for example in (*corpus.train, *corpus.more)]
    if learnt:
        fit_familiarity(learnt).save(out)


def widened(of: Familiarity, texts: Sequence[str]) -> Familiarity:
    """The measure that also knows the words, and the pairs of them, of two of the texts or more."""
    new = _known([[text] for text in texts], of.known.unspaced)(_LEAST_TEXTS)
    words, pairs = of.known.words | new.words, of.known.pairs
    if pairs is not None and new.pairs is not None:
        pairs = pairs | new.pairs
    return replace(of, known=replace(of.known, words=words, pairs=pairs))


def fit_familiarity(texts: Sequence[str], group: Sequence[int] | None = None) -> Familiarity:
    """The measure of `texts`, each compared with all the others but for those of its `group`, as
    near-duplicates are: they would know all of each other's words, and of no other text's."""
    unspaced = sum(map(is_unspaced, texts)) >= _UNSPACED * len(texts)
    of = group or range(len(texts))
    rows = sorted(range(len(texts)), key=of.__getitem__)
    alike = [[texts[row] for row in rows] for _, rows in groupby(rows, key=of.__getitem__)]
    known_by = _known(alike, unspaced)
    elsewhere = known_by(_LEAST_TEXTS + 1)  # a text's own words are in itself, too
    found = [elsewhere.measure(text) for text in texts]
    quantiles = np.quantile(found, _SHARES, method="inverted_cdf")
    return Familiarity(known_by(_LEAST_TEXTS), quantiles.astype(np.float32))


def _known(groups: Sequence[Sequence[str]], unspaced: bool) -> Callable[[int], Known]:
    """What so many of the groups of texts have, given how many: alike ones count once."""
    words, pairs = np.zeros(1 << WORD_BITS, np.int64), np.zeros(1 << PAIR_BITS, np.int64)
    for texts in groups:
        found = [words_and_pairs(text, unspaced) for text in texts]
        words[np.concatenate([each for each, _ in found])] += 1
        pairs[np.concatenate([each for _, each in found])] += 1
    return lambda least: Known(words >= least, pairs >= least, unspaced)
