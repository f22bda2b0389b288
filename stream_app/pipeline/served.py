"""A model that serves: all of a route that changes with its model, made ready in one go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stream_app.core.errors import EngineError, EngineSick
from stream_app.core.label_record import ModelVersion
from stream_app.core.settings import EngineSettings, RouteSettings
from stream_app.engine import load_engine
from stream_app.engine.budget import measured_budget
from stream_app.engine.protocol import Engine, TokenIds
from stream_app.model.artifact import Artifact
from stream_app.model.drift_reference import Drift, load_drift
from stream_app.model.ngrams import load_head
from stream_app.model.tokenizer import Tokenizer
from stream_app.pipeline.classify import CANARY, Classifier
from stream_app.pipeline.encode import Encoder


@dataclass(frozen=True, eq=False, slots=True)
class ServedModel:
    """A warm model with its own encoder and failure rules. Two are never equal: each is closed."""

    version: ModelVersion
    batch_tokens: int
    encoder: Encoder
    engine: Engine
    classifier: Classifier
    drift: Drift | None = None  # what its texts and labels are compared with


@dataclass(frozen=True, slots=True)
class ModelLoader:
    """How a route's models are loaded. Takes seconds, so it runs off the event loop."""

    route: RouteSettings
    how: EngineSettings
    failed: Callable[[str], None]  # counts what was done about a batch that failed

    def __call__(self, artifact: Artifact, version: ModelVersion) -> ServedModel:
        """The model, warm, its canary scored. Raises ModelError, ConfigError, EngineSick."""
        tokenizer, card, how = Tokenizer(artifact), artifact.card, self.how
        head, drift = load_head(artifact), load_drift(artifact)
        [canary] = tokenizer.encode([CANARY])
        engine = load_engine(
            how.backend, artifact, how.device, how.precision, how.threads, how.early_exit
        )
        try:
            engine.warm_up()
            prior = None if head is None else head.logits([CANARY])
            tokens = self._tried(engine, canary, prior, len(card.labels), card.max_tokens)
        except BaseException:
            engine.close()
            raise
        return ServedModel(
            version,
            tokens,
            Encoder(tokenizer, card.preparation, head),
            engine,
            Classifier(engine, card, self.route.min_confidence, canary, self.failed),
            drift,
        )

    def _tried(
        self,
        engine: Engine,
        canary: TokenIds,
        prior: np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None,
        labels: int,
        longest: int,
    ) -> int:
        """The token budget, once the canary has passed. Raises EngineSick where it does not."""
        try:
            logits = engine.logits([canary], prior)
            if logits.shape != (1, labels) or not np.isfinite(logits).all():
                raise EngineError("its scores are no scores")
            return self.route.max_batch_tokens or measured_budget(engine, canary, longest)
        except Exception as error:
            why = str(error) if isinstance(error, EngineError) else type(error).__name__
            raise EngineSick(
                f"the engine fails its canary ({why}): check the device and the model files"
            ) from error
