"""The classifier: batches through a model's engine, and what to do when the engine fails.

Scores that are not finite are a failure too. Retry once; out of memory halves the batch; a
persistent error is bisected until the poison record stands alone. Before any record is blamed the
canary must pass: an engine that fails its canary ends the process instead of dead-lettering a
mailbox.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Semaphore
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_app.core.errors import EngineError, EngineSick, OutOfMemory, RecordError
from stream_app.core.messages import Prediction
from stream_app.engine.protocol import Engine, Prior, TokenIds, scores
from stream_app.model.artifact import ModelCard
from stream_app.model.decision import decide, lengths

Logits = NDArray[np.float32]
Row = Logits | RecordError


class Scorable(Protocol):
    """A text on its way through the engine: what goes in, and what is written back."""

    tokens: list[int]
    prior: NDArray[np.float32] | None
    familiarity: float | None
    prediction: Prediction | None
    error: RecordError | None


class Classifier:
    """One model's engine with its failure rules. Runs off the event loop, on several threads."""

    def __init__(
        self,
        engine: Engine,
        card: ModelCard,
        canary: TokenIds,
        failed: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._card = card
        self._canary = canary
        self._failed = failed  # counts what was done about a failure
        self._turns = Semaphore(engine.at_once)

    def __call__(self, works: Sequence[Scorable]) -> None:
        """Give each work its prediction or its error. Raises EngineSick: then blames no record."""
        scored: list[tuple[Scorable, Logits]] = []
        for work, row in zip(works, self.rows(works), strict=True):
            if isinstance(row, RecordError):
                work.error = row
            else:
                scored.append((work, row))
        for (work, _), prediction in zip(scored, self._decided(scored), strict=True):
            work.prediction = prediction

    def rows(self, works: Sequence[Scorable]) -> list[Row]:
        """One row of logits a text, or the error of the text that cannot be scored."""
        if not works:
            return []
        try:
            return self._score(works)
        except OutOfMemory as error:
            return self._split(works, error, "halved")
        except Exception:  # whatever a backend raises, the record or the engine is at fault
            self._failed("retried")
        try:
            return self._score(works)
        except Exception as error:
            return self._split(works, error, "bisected")

    def _decided(self, scored: Sequence[tuple[Scorable, Logits]]) -> list[Prediction]:
        logits = np.array([row for _, row in scored]).reshape(-1, len(self._card.labels))
        read = lengths([work.tokens for work, _ in scored])
        return decide(logits, self._card, read, [work.familiarity for work, _ in scored])

    def _score(self, works: Sequence[Scorable]) -> list[Row]:
        priors = [work.prior for work in works if work.prior is not None]  # of all or of none
        prior = np.stack(priors) if priors else None
        return list(self._logits([work.tokens for work in works], prior))

    def _logits(self, batch: Sequence[TokenIds], prior: Prior) -> NDArray[np.float32]:
        with self._turns:
            return scores(self._engine, batch, prior)

    def _split(self, works: Sequence[Scorable], error: Exception, outcome: str) -> list[Row]:
        if len(works) == 1:
            return [self._poison(works[0], error)]
        self._failed(outcome)
        middle = len(works) // 2
        return [*self.rows(works[:middle]), *self.rows(works[middle:])]

    def _poison(self, work: Scorable, error: Exception) -> RecordError:
        # the canary has a prior if the record has one: a fault in adding it is not the record's
        prior = None if work.prior is None else np.zeros_like(work.prior)[None, :]
        try:
            self._logits([self._canary], prior)
        except Exception as sick:
            why = str(sick) if isinstance(sick, EngineError) else type(sick).__name__
            raise EngineSick(
                f"the engine fails its canary too ({why}): restart the worker, "
                "and check the device and the model files; nothing was acked"
            ) from sick
        self._failed("poison")
        kind = type(error.__cause__ or error).__name__
        code = "out_of_memory" if isinstance(error, OutOfMemory) else "engine_error"
        detail = str(error) if isinstance(error, EngineError) else kind
        return RecordError(code, f"the engine cannot score this record ({detail})")
