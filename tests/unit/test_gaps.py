"""Gaps: what is known survives its file, and what leads too far is refused."""

from __future__ import annotations

import numpy as np
import pytest

from stream_app.model.gaps import from_gaps, to_gaps

BUCKETS = 1 << 20


@pytest.mark.parametrize("at", [[], [0], [0, 1], [254], [255], [256, 1_000], [7, 1 << 19]])
def test_what_is_known_comes_back(at: list[int]) -> None:
    known = np.zeros(BUCKETS, dtype=bool)
    known[at] = True
    assert (from_gaps(to_gaps(known), BUCKETS) == known).all()


def test_gaps_that_lead_too_far_are_refused() -> None:
    for gaps in (np.full(2, 200, np.uint8), np.zeros(301, np.uint8)):
        with pytest.raises(IndexError):
            from_gaps(gaps, 300)


@pytest.mark.parametrize("gaps", [np.ones(3, np.int8), np.ones((2, 2), np.uint8)])
def test_what_is_no_row_of_bytes_is_refused(gaps: np.ndarray) -> None:
    with pytest.raises(ValueError, match="not bytes"):
        from_gaps(gaps, BUCKETS)
