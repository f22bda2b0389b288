"""The formula that bench/scale_out.py scales by."""

from __future__ import annotations

import pytest

from bench.autoscaler import DOWN_EVERY_SECONDS, SYNC_SECONDS, Autoscaler


@pytest.mark.parametrize(
    ("lag", "workers", "wanted"),
    [
        ({0: 0, 1: 0}, 1, 1),  # never fewer than the least
        ({0: 150, 1: 60}, 1, 3),
        ({0: 60, 1: 45}, 1, 1),  # 105 for 100: within the tolerance
        ({0: 9000, 1: 0}, 1, 2),  # no more than partitions
        (dict.fromkeys(range(9), 9000), 1, 4),  # nor than the most
    ],
)
def test_a_lag_asks_for_workers(lag: dict[int, int], workers: int, wanted: int):
    assert Autoscaler(1, 4, 100, 300).wanted(lag, workers, 0) == wanted


def test_workers_go_one_by_one_after_a_calm():
    scaler, workers, gone = Autoscaler(1, 4, 100, 300), 1, []
    for sync in range(60):
        now = sync * SYNC_SECONDS
        before, workers = (
            workers,
            scaler.wanted({0: 0 if sync else 400, 1: 0, 2: 0, 3: 0}, workers, now),
        )
        if workers < before:
            gone.append(now)
    assert gone == [300, 300 + DOWN_EVERY_SECONDS, 300 + 2 * DOWN_EVERY_SECONDS]
    assert workers == 1
