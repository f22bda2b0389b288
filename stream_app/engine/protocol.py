"""What every inference backend offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_app.core.errors import EngineError
from stream_app.model.decision import albert_shares, lengths

TokenIds = Sequence[int]
Prior = NDArray[np.float32] | None
BATCH_RECORDS = 64  # on a CPU, where larger batches are not faster


class Engine(Protocol):
    """A loaded model. Never called from the event loop."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names, in the order of the logits' columns."""
        ...

    @property
    def at_once(self) -> int:
        """Threads that may call `logits` at one time."""
        ...

    @property
    def batch_records(self) -> int:
        """Records that close a batch, unless the route sets a number."""
        ...

    def warm_up(self) -> None:
        """Run once over the shapes to come, so that the first record is not the slow one."""
        ...

    def logits(self, batch: Sequence[TokenIds], prior: Prior = None) -> NDArray[np.float32]:
        """Raw scores before calibration, float32 `[len(batch), labels]`, rows in input order.

        They may be NaN or infinite, from an overflow or a broken device: `scores` refuses those.

        `prior`, of the same shape, is what the model's n-gram head says of the texts. It is added
        to ALBERT's, which count by the card's `span`, and an engine that rounds looks at the sum.
        An empty batch gives `[0, labels]`. Raises OutOfMemory when the device has none left,
        EngineError for any other failure.
        """
        ...

    def computed_tokens(self, batch: Sequence[TokenIds]) -> int:
        """Tokens this engine computes for `batch`, padding included."""
        ...

    @property
    def memory_bytes(self) -> int:
        """Bytes the weights hold on the device."""
        ...

    def close(self) -> None:
        """Give the memory back. The engine is not usable afterwards."""
        ...


def scores(engine: Engine, batch: Sequence[TokenIds], prior: Prior = None) -> NDArray[np.float32]:
    """The engine's logits, checked to be finite. Use this wherever labels are made of them.

    Raises EngineError if they are not, and what `Engine.logits` raises.
    """
    logits = engine.logits(batch, prior)
    if logits.shape != (len(batch), len(engine.labels)) or not np.isfinite(logits).all():
        raise EngineError("its scores are not one finite number a label")
    return logits


def plus(
    albert: NDArray[np.float32], prior: Prior, batch: Sequence[TokenIds], span: float = 0.0
) -> NDArray[np.float32]:
    """ALBERT's logits of a batch, by its card's `span`, and the prior: both `[texts, labels]`."""
    if span:
        albert = albert * albert_shares(span, lengths(batch))[:, None]
    return albert if prior is None else albert + prior
