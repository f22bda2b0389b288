"""Early exits never decide what the whole model would not: a good mail of two thousand is one too
many."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_app.model.artifact import ModelCard
from training.improving.exits import Seen, fitted

TEXTS = 2_000


def seen(wrong: int) -> Seen:
    """Texts whose label their first layer tells, but for `wrong` hams that look like spam there."""
    truth: NDArray[np.int64] = np.arange(TEXTS) % 2
    logits = np.where(truth[:, None] == np.arange(2), 4.0, 0.0).astype(np.float32)
    looks = truth.copy()
    looks[np.flatnonzero(truth == 0)[:wrong]] = 1
    cls = np.where(looks == 1, 1.0, -1.0).astype(np.float32)[None, :, None]
    return Seen(cls, logits, np.zeros_like(logits), truth, np.full(TEXTS, 20))


@pytest.mark.parametrize("bars", [{}, {"spam": 0.9}])
def test_a_bar_is_not_reached_sooner(bars: dict[str, float]) -> None:
    card = ModelCard(name="m", version="1", labels=("ham", "spam"), decide_at=bars)
    without, one = (fitted(seen(0), seen(wrong), card).confidence for wrong in (0, 1))
    assert (one > without) == bool(bars)
