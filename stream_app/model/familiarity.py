"""How familiar a text is: whether its words are ones that the model learnt from.

A text is measured by k / (n + 20): of its n distinct words the model's training texts have k, in
two of them or more. Twenty words more that nobody knows make short texts strange to a model of long
ones. Its familiarity is the share of the training texts that measure no more, each by the words of
the others: a p-value, below which texts of the model's own kinds fall as often as it says. No other
kind of text is needed to fit it. Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World",
2005, section 2.2.

The file `familiarity.safetensors` holds `gaps` uint8, the distances between the buckets of known
words, 0 for 255 further with no word; `quantiles` float32 [1001] of the training texts' measure;
and, where it counts pairs of letters as words (see `distinct_words`), `pairs` of any content.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
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

_WORD = re.compile(r"[^\W\d_]+")
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"  # Thai to Han
_PAIR = re.compile(f"[{_UNSPACED}]{{2}}")
_WORD_OR_PAIR = re.compile(  # a letter of those scripts, and the one behind it; the last has none
    rf"[{_UNSPACED}](?:(?=([{_UNSPACED}]))|(?<![{_UNSPACED}].))|[^\W\d_{_UNSPACED}]+"
)
_MOST_WORDS = 200  # of a text: more say nothing more of its language
_STRANGE_WORDS = 20
_BITS = 20  # of a word's hash: with 40,000 words known, 4 % of all others seem to be


@dataclass(frozen=True, slots=True)
class Familiarity:
    """A loaded measure. `known` bool [2^20], by a word's hash; `quantiles` float32, ascending;
    `pairs`: see `distinct_words`.

    Several threads may call it. A text of 200 words takes 50 to 100 µs.
    """

    known: NDArray[np.bool_]
    quantiles: NDArray[np.float32]
    pairs: bool = False

    def scores(self, texts: Sequence[str], tokens: Sequence[Sequence[int]]) -> list[float]:
        """In [0, 1], one a text; `tokens` are its ids, which this measure does not need."""
        found = np.array(
            [measure(text, self.known, self.pairs) for text in texts], dtype=np.float32
        )
        no_more = np.searchsorted(self.quantiles, found, side="right")
        return [float(count) for count in no_more / len(self.quantiles)]

    def save(self, folder: Path) -> None:
        """Write the file beside the weights of the model in `folder`."""
        tensors: dict[str, NDArray[Any]] = {
            "gaps": _gaps(self.known),
            "quantiles": self.quantiles,
        }
        if self.pairs:
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
        gaps, quantiles = tensors["gaps"], tensors["quantiles"]
        if gaps.dtype != np.uint8 or gaps.ndim != 1:
            raise ValueError("gaps are not bytes")
        if quantiles.dtype != np.float32 or quantiles.ndim != 1 or not quantiles.size:
            raise ValueError("quantiles are not a row of float32")
        if not np.isfinite(quantiles).all() or (np.diff(quantiles) < 0).any():
            raise ValueError("quantiles are not ascending numbers")
        return Familiarity(_known(gaps), quantiles, "pairs" in tensors)
    except (OSError, SafetensorError, KeyError, IndexError, ValueError) as error:
        why = str(error) if isinstance(error, ValueError) else type(error).__name__
        raise ModelError(f"{file} measures no familiarity: {why}") from None


def has_pairs(text: str) -> bool:
    """Whether words of it stand side by side without spaces, as in Chinese, Japanese or Thai."""
    return _PAIR.search(text) is not None


def distinct_words(text: str, pairs: bool = False) -> set[str]:
    """Those of its first words, in lower case; digits and signs are none.

    With `pairs`, two letters side by side are a word where no spaces part them: hardly a sentence
    of Chinese comes twice, and beside sentences that are all strange every language is familiar.
    """
    found = islice((_WORD_OR_PAIR if pairs else _WORD).finditer(text), _MOST_WORDS)
    return {"".join((match[0], *match.groups(""))).lower() for match in found}


def table(words: Iterable[str]) -> NDArray[np.bool_]:
    """bool [2^20], true where the hash of one of the words points."""
    known = np.zeros(1 << _BITS, dtype=bool)
    known[[_bucket(word) for word in words]] = True
    return known


def measure(text: str, known: NDArray[np.bool_], pairs: bool = False) -> float:
    """In [0, 1): how much of a text, and of twenty words more, is known."""
    buckets = [_bucket(word) for word in distinct_words(text, pairs)]
    return int(known[buckets].sum()) / (len(buckets) + _STRANGE_WORDS) if buckets else 0.0


def _gaps(known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A third of the bytes that a bit a bucket takes, with 40,000 words known."""
    steps = np.diff(np.flatnonzero(known), prepend=-1)
    ends = np.cumsum(1 + (steps - 1) // 255)
    gaps = np.zeros(ends[-1] if len(ends) else 0, dtype=np.uint8)
    gaps[ends - 1] = (steps - 1) % 255 + 1
    return gaps


def _known(gaps: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Raises IndexError for gaps that lead too far."""
    known = np.zeros(1 << _BITS, dtype=bool)
    at = np.cumsum(np.where(gaps == 0, 255, gaps), dtype=np.int64) - 1
    known[at[gaps > 0]] = True
    return known


def _bucket(word: str) -> int:
    return zlib.crc32(word.encode("utf-8", "surrogatepass")) >> (32 - _BITS)
