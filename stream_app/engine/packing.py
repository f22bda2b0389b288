"""A batch without padding: its token ids one after another, in arrival order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from stream_app.core.errors import EngineError
from stream_app.engine.protocol import TokenIds

Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Packed:
    """Ids `[tokens]` and the length of each text `[texts]`."""

    ids: Ints
    lengths: Ints

    def runs(self, budget: int) -> list[tuple[slice, Packed]]:
        """The texts in runs of at most `budget` tokens or one text, each with its rows."""
        ends = np.cumsum(self.lengths)
        runs, start, done = [], 0, 0
        while start < len(self.lengths):
            stop = max(int(np.searchsorted(ends, done + budget, side="right")), start + 1)
            end = int(ends[stop - 1])
            rows = slice(start, stop)
            runs.append((rows, Packed(self.ids[done:end], self.lengths[rows])))
            start, done = stop, end
        return runs


def pack(batch: Sequence[TokenIds], vocabulary: int, places: int) -> Packed:
    """Pack texts for a model that has so many words and places for tokens.

    Raises EngineError for what would read beyond its tables: code that is compiled, or on a GPU,
    trusts what it is given.
    """
    lengths = np.fromiter(map(len, batch), np.int32, len(batch))
    ids = np.fromiter(chain.from_iterable(batch), np.int64, int(lengths.sum()))
    if len(lengths) and not 1 <= lengths.min() <= lengths.max() <= places:
        raise EngineError(f"a text has no token, or more than {places}")
    if len(ids) and not 0 <= ids.min() <= ids.max() < vocabulary:
        raise EngineError(f"a token id is not in the vocabulary of {vocabulary}")
    return Packed(ids.astype(np.int32), lengths)
