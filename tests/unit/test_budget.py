"""The token budget: from a curve of rates, on an engine whose clock is scripted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from stream_app.core.errors import OutOfMemory
from stream_app.engine.budget import measured_budget
from stream_app.engine.fake import FakeEngine

TEXT = [2, 7, 8, 3]


def budget(seconds: Callable[[int], float]) -> tuple[int, list[int]]:
    """The budget where a batch of so many tokens takes so long, and the sizes that were tried."""
    now, tried = 0.0, []

    def before(batch: Sequence[Sequence[int]]) -> None:
        nonlocal now
        tokens = sum(map(len, batch))
        tried.append(tokens)
        now += seconds(tokens)

    engine = FakeEngine(("a", "b"), before)
    return measured_budget(engine, TEXT, 128, lambda: now), tried


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        (lambda tokens: tokens / 10_000, 512),  # twice the tokens take twice as long
        (
            lambda tokens: 0.01 + tokens / 100_000,
            16_384,
        ),  # each batch costs as much as 1,000 tokens
        (lambda tokens: max(tokens, 2048) / 100_000, 2048),  # a GPU that 2,048 tokens fill
    ],
)
def test_the_fewest_tokens_at_nearly_the_full_rate(seconds: Callable[[int], float], chosen: int):
    assert budget(seconds)[0] == chosen


def test_what_the_device_has_no_memory_for_is_too_much():
    def seconds(tokens: int) -> float:
        if tokens > 2048:
            raise OutOfMemory("no memory")
        return 0.01

    assert budget(seconds)[0] == 2048


def test_it_measures_no_further_than_it_must():
    assert budget(lambda tokens: tokens / 1_000)[1] == [512] * 3 + [1024] * 3
