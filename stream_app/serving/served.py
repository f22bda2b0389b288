"""A model that serves: all of a route that changes with its model, made ready in one go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from stream_app.core.errors import EngineError, EngineSick
from stream_app.core.label_record import ModelVersion
from stream_app.core.settings import EngineSettings, LabelSettings
from stream_app.engine import load_engine
from stream_app.engine.budget import measured_budget
from stream_app.engine.protocol import Engine, scores
from stream_app.model.artifact import Artifact
from stream_app.model.decision import for_route
from stream_app.model.drift_reference import Drift, load_drift
from stream_app.model.encoder import Encoder
from stream_app.model.familiarity import load_familiarity
from stream_app.model.ngrams import load_head
from stream_app.model.tokenizer import Tokenizer
from stream_app.serving.classifier import Classifier

CANARY = "a short text that any working model can score"


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

    settings: LabelSettings
    how: EngineSettings
    failed: Callable[[str], None]  # counts what was done about a batch that failed

    def __call__(
        self, artifact: Artifact, version: ModelVersion, batch_tokens: int = 0
    ) -> ServedModel:
        """The model, warm, its canary scored. Raises ModelError, ConfigError, EngineSick.

        `batch_tokens` limits its batches if the route sets no limit; 0 measures the limit, which
        means little beside a model that serves.
        """
        artifact = replace(artifact, card=for_route(artifact.card, self.settings.min_confidence))
        card, how, tokenizer = artifact.card, self.how, Tokenizer(artifact)
        head, drift = load_head(artifact), load_drift(artifact)
        [canary] = tokenizer.encode([CANARY])
        engine = load_engine(
            how.backend, artifact, how.device, how.precision, how.threads, how.early_exit
        )
        tokens = self.settings.max_batch_tokens or batch_tokens
        try:
            engine.warm_up()
            scores(engine, [canary], None if head is None else head.logits([CANARY]))
            tokens = tokens or measured_budget(engine, canary, card.max_tokens)
        except Exception as error:
            engine.close()
            why = str(error) if isinstance(error, EngineError) else type(error).__name__
            raise EngineSick(
                f"the engine fails its canary ({why}): check the device and the model files"
            ) from error
        encoder = Encoder(tokenizer, card.preparation, head, load_familiarity(artifact))
        classifier = Classifier(engine, card, canary, self.failed)
        told = version.model_copy(update={"problem": card.problem})  # a registry does not say it
        return ServedModel(told, tokens, encoder, engine, classifier, drift)
