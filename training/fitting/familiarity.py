"""Makes a model's `familiarity.safetensors`: the words it learnt from, and how many others know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from stream_app.model.artifact import FAMILIARITY
from stream_app.model.familiarity import Familiarity, distinct_words
from training.data.corpus import Corpus, Example

_LEAST_TEXTS = 2  # a word that fewer texts have may be a slip


def write_familiarity(out: Path, corpus: Corpus) -> None:
    """Write the measure into the model's folder `out`; without validation texts there is none.

    The card has to be sealed again afterwards.
    """
    (out / FAMILIARITY).unlink(missing_ok=True)
    if corpus.validation:
        words = known_words([*corpus.train, *corpus.more])
        Familiarity.of(words, [example.text for example in corpus.validation]).save(out)


def known_words(learnt: Sequence[Example]) -> list[str]:
    """The words that enough of the texts have, in order."""
    seen = Counter(word for example in learnt for word in distinct_words(example.text))
    return sorted(word for word, texts in seen.items() if texts >= _LEAST_TEXTS)
