"""Our engines as contestants: fed as a worker feeds them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from contestants import Ids, Logits

from stream_app.engine.budget import measured_budget
from stream_app.engine.protocol import Engine

SERVED_BATCH = 64  # records


@dataclass(frozen=True)
class Served:
    """One of our engines, fed as the service feeds it."""

    engine: Engine
    batching: str = f"arrival, {SERVED_BATCH}"

    def logits(self, ids: Ids) -> Logits:
        """float32 `[texts, labels]`, in the order of `ids`."""
        starts = range(0, len(ids), SERVED_BATCH)
        return np.concatenate([self.engine.logits(ids[at : at + SERVED_BATCH]) for at in starts])


@dataclass(frozen=True)
class ServedByTokens:
    """The same on a GPU: tokens close a batch, and two batches run at once."""

    engine: Engine
    tokens: int

    @property
    def batching(self) -> str:
        """What closes a batch."""
        return f"arrival, {self.tokens} tokens"

    def logits(self, ids: Ids) -> Logits:
        """float32 `[texts, labels]`, in the order of `ids`."""
        with ThreadPoolExecutor(self.engine.at_once) as threads:
            return np.concatenate([*threads.map(self.engine.logits, by_tokens(ids, self.tokens))])


def by_tokens(ids: Ids, tokens: int) -> Iterator[Ids]:
    """Batches in arrival order, of at most `tokens` tokens or one text."""
    start = held = 0
    for at, text in enumerate(ids):
        if at > start and held + len(text) > tokens:
            yield ids[start:at]
            start, held = at, 0
        held += len(text)
    yield ids[start:]


def served(engine: Engine, ids: Ids, device: str) -> Served | ServedByTokens:
    """The engine as a worker on this device would feed it, warm."""
    engine.warm_up()
    if device == "cpu":
        return Served(engine)
    return ServedByTokens(engine, measured_budget(engine, ids[0], max(map(len, ids))))
