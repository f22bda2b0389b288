"""Words and runs of words as buckets of a table. crc32 and 64-bit integer arithmetic, the same on
every machine."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Buckets = NDArray[np.int64]

SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying loses nothing
MIX = np.uint64(0xC2B2AE3D27D4EB4F)
_HALF, _SHIFT = np.uint64(32), np.uint64(29)


def crcs(words: Sequence[str]) -> Hashes:
    """The crc32 of each word."""
    found = (zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words)
    return np.fromiter(found, np.uint64, len(words))


def hashed(words: Sequence[str]) -> Hashes:
    """One hash a word."""
    return crcs(words) * SPREAD


def runs(units: Hashes, lengths: Sequence[int]) -> list[Hashes]:
    """One hash for every run of each of the `lengths`, ascending."""
    out, run = [], units
    for length in range(1, max(lengths) + 1):
        if length > 1:
            run = (run[:-1] ^ (run[:-1] >> _SHIFT)) * MIX + units[length - 1 :]
        if length in lengths:
            out.append(run + np.uint64(length))
    return out


def buckets(hashes: Hashes, bits: int) -> Buckets:
    """The distinct ones of 2^bits buckets, ascending."""
    mixed = (hashes ^ (hashes >> _HALF)) * MIX
    return np.unique((mixed >> np.uint64(64 - bits)).astype(np.int64))
