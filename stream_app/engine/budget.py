"""How many tokens a batch should hold: the fewest beyond which its rate hardly grows.

More would only make the first record of a batch wait for the last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice

from stream_app.core.errors import OutOfMemory
from stream_app.engine.protocol import Engine, TokenIds, scores

BUDGETS = (512, 1024, 2048, 4096, 8192, 16_384)
LENGTHS = (1 / 4, 1 / 16, 1, 1 / 8, 1 / 2)  # of a mix's texts, in the longest that the model takes
GAIN = 1.05  # the speed-up that justifies twice the tokens
TRIALS = 3


def measured_budget(
    engine: Engine,
    text: TokenIds,
    longest: int,
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """Tokens of a batch: doubled while that is measurably faster, on a warm engine.

    `text` is any that the model can score; the batches are made of its tokens, in texts of mixed
    lengths up to `longest`. A budget that does not fit into the device's memory is too large.
    """
    best, best_rate = BUDGETS[0], 0.0
    for budget in BUDGETS:
        batch = _mix(text, longest, budget)
        try:
            rate = budget / min(_seconds(engine, batch, clock) for _ in range(TRIALS))
        except OutOfMemory:
            break
        if rate < best_rate * GAIN:
            break
        best, best_rate = budget, rate
    return best


def _mix(text: TokenIds, longest: int, tokens: int) -> list[TokenIds]:
    """Texts of so many tokens together."""
    batch: list[TokenIds] = []
    shares = cycle(LENGTHS)
    while tokens:
        length = min(max(1, int(next(shares) * longest)), tokens)
        batch.append(list(islice(cycle(text), length)))
        tokens -= length
    return batch


def _seconds(engine: Engine, batch: Sequence[TokenIds], clock: Callable[[], float]) -> float:
    started = clock()
    scores(engine, batch)
    return clock() - started
