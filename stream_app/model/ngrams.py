"""A sparse n-gram head: weights of words and pairs over the whole text, added to the logits.

ALBERT reads a few hundred tokens in context; this reads every word without. A text's n-grams are
hashed into buckets, each bucket has a weight a label, and the text's logits are the sum over its
buckets divided by a power of their number: a linear classifier over binary features. Weinberger et
al., "Feature Hashing for Large Scale Multitask Learning", 2009; Wang and Manning, "Baselines and
Bigrams", 2012.

The file `ngrams.safetensors` holds `weights` int8 [buckets, labels], `scale` and `bias` float32
[labels]; its metadata says which n-grams, and the power. A head with kinship has uint8 `kin.0` to
`kin.N` too, the gaps between the pairs that each label knows, and its strength in the metadata; one
that leans has `lean` float32 [labels].
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from stream_app.core.errors import ModelError
from stream_app.model.artifact import NGRAMS, Artifact
from stream_app.model.checks.files import MIB, read_header
from stream_app.model.gaps import from_gaps, to_gaps
from stream_app.model.hashing import MIX, SPREAD, Buckets, Hashes, buckets, hashed, runs
from stream_app.model.kinship import BITS, MOST_LABELS, Kinship, pairs

Logits = NDArray[np.float32]

NGRAMS_BYTES = 1024 * MIB
LONGEST_RUN, MOST_BITS = 16, 24

_WORD = re.compile(r"\w+|[^\w\s]")
_FEW_WORDS = 16  # of which a head leans half as much as of none


@dataclass(frozen=True, slots=True)
class Features:
    """Which n-grams count: runs of 1 to `words` words, and of each of `characters` characters."""

    words: int = 2
    characters: tuple[int, ...] = ()
    bits: int = 18  # there are 2^bits buckets

    def buckets(self, text: str, hashes: Hashes | None = None) -> Buckets:
        """The distinct buckets of a text's n-grams, ascending; its `word_hashes`, where known."""
        grams: list[Hashes] = []
        if self.words:
            words = word_hashes(text) if hashes is None else hashes
            grams += runs(words, range(1, self.words + 1))
        if self.characters:
            grams += runs(_characters(text.lower()), self.characters)
        return buckets(np.concatenate(grams), self.bits)


@dataclass(frozen=True, slots=True)
class NgramHead:
    """A loaded head. `weights` int8 [buckets, labels]; `scale`, `bias` float32 [labels].

    With `power` 0.5 a text's features are of unit length; the lower, the more a long text counts.
    `lean` [labels] is what having no words says, and the more of them a text has the less of it
    counts: the bias is right for whole texts alone.
    """

    features: Features
    weights: NDArray[np.int8]
    scale: Logits
    bias: Logits
    power: float = 0.5
    kin: Kinship | None = None
    lean: Logits | None = None

    def logits(self, texts: Sequence[str]) -> Logits:
        """float32 [texts, labels], to be added to the engine's; the same for a text every time."""
        out = np.tile(self.bias, (len(texts), 1))
        for row, text in enumerate(texts):
            hashes = word_hashes(text)
            found = self.features.buckets(text, hashes)
            if found.size:
                total = self.weights[found].sum(axis=0, dtype=np.int64)
                out[row] += self.scale * (total / found.size**self.power).astype(np.float32)
            if self.kin:
                out[row] += self.kin.logits(pairs(hashes))
            if self.lean is not None:
                out[row] += self.lean * fewness(len(hashes))
        return out

    def save(self, folder: Path) -> None:
        """Write the head's file beside the weights of the model in `folder`."""
        described = {"power": str(self.power)}
        described |= {name: _text(value) for name, value in asdict(self.features).items()}
        tensors: dict[str, NDArray[Any]] = {
            "weights": self.weights,
            "scale": self.scale,
            "bias": self.bias,
        }
        if self.kin:
            described["kinship"] = str(self.kin.strength)
            tensors |= {_kin(label): to_gaps(known) for label, known in enumerate(self.kin.known)}
        if self.lean is not None:
            tensors["lean"] = self.lean
        (folder / NGRAMS).write_bytes(_in_order(save(tensors, metadata=described)))


def load_head(artifact: Artifact) -> NgramHead | None:
    """The artifact's head, None where it has none. Raises ModelError for one that does not fit."""
    file, labels = artifact.path / NGRAMS, len(artifact.card.labels)
    if not file.exists():
        return None
    read_header(file, NGRAMS_BYTES, "is not an n-gram head")
    try:
        with safe_open(file, "numpy") as opened:
            said = opened.metadata() or {}
            names = ["weights", "scale", "bias", *({"lean"} & {*opened.keys()})]
            tensors = {name: opened.get_tensor(name) for name in names}
            gaps = [opened.get_tensor(_kin(label)) for label in range(labels) if "kinship" in said]
        features = Features(int(said["words"]), _numbers(said["characters"]), int(said["bits"]))
        power = float(said["power"])
        _check(features, power)
        kin = _kinship(gaps, float(said["kinship"])) if gaps else None
    except (SafetensorError, KeyError, IndexError, ValueError) as error:
        raise ModelError(f"{file} is not an n-gram head: {type(error).__name__}") from None
    shapes = [tensors[name].shape for name in names]
    if shapes != [(1 << features.bits, labels), *[(labels,)] * (len(names) - 1)]:
        raise ModelError(f"{file} does not fit the {labels} labels of {artifact.card.name}")
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise ModelError(f"{file} has values that are not finite: fit the head again")
    weights, scale, bias, *_ = tensors.values()
    return NgramHead(features, weights, scale, bias, power, kin, tensors.get("lean"))


def fewness(words: int) -> float:
    """1 of no words, a half of sixteen, next to nothing of a whole text's."""
    return _FEW_WORDS / (_FEW_WORDS + words)


def word_hashes(text: str) -> Hashes:
    """One for each word and sign of a text, in order."""
    return hashed(_WORD.findall(text.lower()))


def _check(features: Features, power: float) -> None:
    """Raises ValueError for sizes out of bounds: each length is another pass over every text."""
    longest = max((features.words, *features.characters), default=0)
    few = len(features.characters) <= LONGEST_RUN and min(features.characters, default=1) > 0
    if not (0 < longest <= LONGEST_RUN and features.words >= 0 and few):
        raise ValueError("n-grams")
    if not (1 <= features.bits <= MOST_BITS and 0 <= power <= 1):
        raise ValueError("bits or power")


def _kin(label: int) -> str:
    return f"kin.{label}"


def _kinship(gaps: Sequence[NDArray[np.uint8]], strength: float) -> Kinship:
    """Raises IndexError or ValueError for what is none."""
    if not math.isfinite(strength) or len(gaps) > MOST_LABELS:
        raise ValueError("kinship")
    return Kinship(np.stack([from_gaps(each, 1 << BITS) for each in gaps]), strength)


def _characters(text: str) -> Hashes:
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return (points.astype(np.uint64) + SPREAD) * MIX


def _in_order(file: bytes) -> bytes:
    """The same safetensors file with sorted metadata: the library puts them in another order each
    time, so the same head would have another digest."""
    start = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    return file[:8] + text.ljust(start - 8) + file[start:]


def _text(value: int | tuple[int, ...]) -> str:
    return str(value) if isinstance(value, int) else " ".join(map(str, value))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))
