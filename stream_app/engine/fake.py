"""The shipped fake: deterministic logits from the token ids, no weights, no torch.

It is for tests and for trying a pipeline out; what it says means nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from stream_app.engine.protocol import BATCH_RECORDS, Prior, TokenIds, plus
from stream_app.model.artifact import Artifact


class FakeEngine:
    """Logits are a pure function of a text's ids. `before` runs ahead of each batch."""

    def __init__(
        self,
        labels: tuple[str, ...],
        before: Callable[[Sequence[TokenIds]], None] | None = None,
        at_once: int = 1,
    ) -> None:
        self.labels = labels
        self.at_once = at_once
        self.batch_records = BATCH_RECORDS
        self._before = before

    def warm_up(self) -> None:
        """Nothing to warm."""

    def logits(self, batch: Sequence[TokenIds], prior: Prior = None) -> NDArray[np.float32]:
        """float32 `[len(batch), labels]`; the crc32 of a text's ids picks its label."""
        if self._before is not None:
            self._before(batch)
        out = np.zeros((len(batch), len(self.labels)), dtype=np.float32)
        for row, ids in enumerate(batch):
            out[row, zlib.crc32(np.asarray(ids, dtype=np.int32).tobytes()) % len(self.labels)] = 3.0
        return plus(out, prior, batch)

    def computed_tokens(self, batch: Sequence[TokenIds]) -> int:
        """No padding: the tokens themselves."""
        return sum(map(len, batch))

    @property
    def memory_bytes(self) -> int:
        """No weights."""
        return 0

    def close(self) -> None:
        """Nothing to give back."""


def load(artifact: Artifact, device: str, precision: str, threads: int) -> FakeEngine:
    """A fake with the artifact's labels; device, precision and threads do not matter."""
    del device, precision, threads
    return FakeEngine(artifact.card.labels)
