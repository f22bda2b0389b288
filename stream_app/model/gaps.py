"""Few true of many buckets, as the distances between them: a byte each, a third of what a bit a
bucket takes where one of twenty-five is true. A 0 is 255 buckets further, and none there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FAR = 255


def to_gaps(known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Of `known` bool [buckets]."""
    steps = np.diff(np.flatnonzero(known), prepend=-1)
    ends = np.cumsum(1 + (steps - 1) // _FAR)
    gaps = np.zeros(ends[-1] if len(ends) else 0, dtype=np.uint8)
    gaps[ends - 1] = (steps - 1) % _FAR + 1
    return gaps


def from_gaps(gaps: NDArray[np.uint8], buckets: int) -> NDArray[np.bool_]:
    """bool [buckets]. Raises IndexError for gaps that lead too far, ValueError for what is none."""
    if gaps.dtype != np.uint8 or gaps.ndim != 1:
        raise ValueError("gaps are not bytes")
    if gaps.size > buckets:
        raise IndexError("more gaps than buckets")
    known = np.zeros(buckets, dtype=bool)
    at = np.cumsum(np.where(gaps == 0, _FAR, gaps), dtype=np.int64) - 1
    known[at[gaps > 0]] = True
    return known
