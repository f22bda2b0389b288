"""Makes a model's `familiarity.safetensors` from the texts that it learnt from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np

from stream_app.model.artifact import FAMILIARITY
from stream_app.model.familiarity import Familiarity, distinct_words, has_pairs, measure, table
from training.data.corpus import Corpus

_LEAST_TEXTS = 2  # a word that fewer texts have may be a slip
_PAIRED = 0.01  # of the training texts: with fewer, too few pairs are known
_SHARES = np.linspace(0, 1, 1_001)


def write_familiarity(out: Path, corpus: Corpus) -> None:
    """Write the measure into the model's folder `out`; without training texts there is none.

    The card has to be sealed again afterwards.
    """
    (out / FAMILIARITY).unlink(missing_ok=True)
    learnt = [example.text for example in (*corpus.train, *corpus.more)]
    if learnt:
        fit_familiarity(learnt).save(out)


def widened(known: Familiarity, texts: Sequence[str]) -> Familiarity:
    """The measure that also knows the words of two of the texts or more."""
    seen = Counter(word for text in texts for word in distinct_words(text, known.pairs))
    new = table(word for word, count in seen.items() if count >= _LEAST_TEXTS)
    return replace(known, known=known.known | new)


def fit_familiarity(texts: Sequence[str], group: Sequence[int] | None = None) -> Familiarity:
    """The measure of `texts`, each compared with all the others but for those of its `group`, as
    near-duplicates are: they would know all of each other's words, and of no other text's."""
    pairs = sum(map(has_pairs, texts)) >= _PAIRED * len(texts)
    of = group or range(len(texts))
    rows = sorted(range(len(texts)), key=of.__getitem__)
    seen = Counter(
        word
        for _, alike in groupby(rows, key=of.__getitem__)
        for word in set().union(*(distinct_words(texts[row], pairs) for row in alike))
    )
    known, elsewhere = (
        table(word for word, count in seen.items() if count >= least)
        for least in (_LEAST_TEXTS, _LEAST_TEXTS + 1)  # a text's own words are in itself, too
    )
    found = [measure(text, elsewhere, pairs) for text in texts]
    quantiles = np.quantile(found, _SHARES, method="inverted_cdf")
    return Familiarity(known, quantiles.astype(np.float32), pairs)
