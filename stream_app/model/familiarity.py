"""How familiar a text is: whether its words are ones that the model learnt from.

A text is measured by k / (n + 20): of its n distinct words and pairs of neighbouring words the
model's training texts have k, in two of them or more. Two languages may have half of their words in
common, but hardly a pair. Twenty more that nobody knows make short texts strange to a model of long
ones. The familiarity is the share of the training texts that measure no more, each by the words of
the others: a p-value, below which texts of the model's own kinds fall as often as it says. No other
kind of text is needed to fit it. Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World",
2005, section 2.2.

The file `familiarity.safetensors` holds `gaps` and `pair_gaps` uint8, the distances between the
buckets of known words and pairs (`stream_app.model.gaps`), and `quantiles` float32 [1001] of the
training texts' measure. A measure of before has words alone. One that counts two letters as a word
(see `words_of`) has `pairs` of any content.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from stream_app.core.errors import ModelError
from stream_app.model.artifact import FAMILIARITY, Artifact
from stream_app.model.gaps import from_gaps, to_gaps
from stream_app.model.hashing import SPREAD, Buckets, buckets, crcs, runs

_WORD = re.compile(r"[^\W\d_]+")
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"  # Thai to Han
_TWO = re.compile(f"[{_UNSPACED}]{{2}}")
_WORD_OR_TWO = re.compile(  # a letter of those scripts, and the one behind it; the last has none
    rf"[{_UNSPACED}](?:(?=([{_UNSPACED}]))|(?<![{_UNSPACED}].))|[^\W\d_{_UNSPACED}]+"
)
_MOST_WORDS = 200  # of a text: more say nothing more of its language
_STRANGE = 20  # words or pairs
WORD_BITS = 20  # of a hash: with 40,000 words known, 4 % of all others seem to be
PAIR_BITS = 22  # with 200,000 known, 5 %


@dataclass(frozen=True, slots=True)
class Known:
    """What is known. `words` bool [2^20] and `pairs` bool [2^22], by the hashes; a measure of
    before has no pairs. `unspaced`: see `words_of`."""

    words: NDArray[np.bool_]
    pairs: NDArray[np.bool_] | None = None
    unspaced: bool = False

    def measure(self, text: str) -> float:
        """In [0, 1): how much of a text, and of twenty words more, is known."""
        words, pairs = words_and_pairs(text, self.unspaced)
        known, of = int(self.words[words].sum()), len(words) + _STRANGE
        if self.pairs is not None:
            known, of = known + int(self.pairs[pairs].sum()), of + len(pairs)
        return known / of


@dataclass(frozen=True, slots=True)
class Familiarity:
    """A loaded measure. `quantiles` float32, ascending.

    Several threads may call it. A text of 200 words takes 100 to 200 µs.
    """

    known: Known
    quantiles: NDArray[np.float32]

    def scores(self, texts: Sequence[str], tokens: Sequence[Sequence[int]]) -> list[float]:
        """In [0, 1], one a text; `tokens` are its ids, which this measure does not need."""
        found = np.array([self.known.measure(text) for text in texts], dtype=np.float32)
        no_more = np.searchsorted(self.quantiles, found, side="right")
        return [float(count) for count in no_more / len(self.quantiles)]

    def save(self, folder: Path) -> None:
        """Write the file beside the weights of the model in `folder`."""
        known = self.known
        tensors: dict[str, NDArray[Any]] = {
            "gaps": to_gaps(known.words),
            "quantiles": self.quantiles,
        }
        if known.pairs is not None:
            tensors["pair_gaps"] = to_gaps(known.pairs)
        if known.unspaced:
            tensors["pairs"] = np.ones(1, np.uint8)
        save_file(tensors, folder / FAMILIARITY)
        (folder / FAMILIARITY).chmod(0o644)  # safetensors writes for its owner only


def load_familiarity(artifact: Artifact) -> Familiarity | None:
    """The artifact's measure, None where it has none. Raises ModelError for one that is wrong."""
    file = artifact.path / FAMILIARITY
    if not file.exists():
        return None
    try:
        tensors = load_file(file)
        quantiles, pairs = tensors["quantiles"], tensors.get("pair_gaps")
        if quantiles.dtype != np.float32 or quantiles.ndim != 1 or not quantiles.size:
            raise ValueError("quantiles are not a row of float32")
        if not np.isfinite(quantiles).all() or (np.diff(quantiles) < 0).any():
            raise ValueError("quantiles are not ascending numbers")
        known = Known(
            from_gaps(tensors["gaps"], 1 << WORD_BITS),
            None if pairs is None else from_gaps(pairs, 1 << PAIR_BITS),
            "pairs" in tensors,
        )
        return Familiarity(known, quantiles)
    except (OSError, SafetensorError, KeyError, IndexError, ValueError) as error:
        why = str(error) if isinstance(error, ValueError) else type(error).__name__
        raise ModelError(f"{file} measures no familiarity: {why}") from None


def is_unspaced(text: str) -> bool:
    """Whether words of it stand side by side without spaces, as in Chinese, Japanese or Thai."""
    return _TWO.search(text) is not None


def words_of(text: str, unspaced: bool = False) -> list[str]:
    """Its first words, in lower case; digits and signs are none.

    With `unspaced`, two letters side by side are a word where no spaces part them: hardly a
    sentence of Chinese comes twice, and beside sentences that are all strange every language is
    familiar.
    """
    found = islice((_WORD_OR_TWO if unspaced else _WORD).finditer(text), _MOST_WORDS)
    return ["".join((match[0], *match.groups(""))).lower() for match in found]


def words_and_pairs(text: str, unspaced: bool = False) -> tuple[Buckets, Buckets]:
    """The distinct buckets of its words, and of its pairs of them."""
    words = crcs(words_of(text, unspaced))
    side_by_side = runs(words * SPREAD, (2,))[0]
    known = np.unique(words >> np.uint64(32 - WORD_BITS)).astype(np.int64)
    return known, buckets(side_by_side, PAIR_BITS)
