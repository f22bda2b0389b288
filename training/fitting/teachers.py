"""What can score texts can teach: a model, and TF-IDF. Logits are calibrated: their softmax is what
the teacher believes.

A student fitted to the average of good teachers' scores can pass each of them: Hinton, Vinyals,
Dean, "Distilling the Knowledge in a Neural Network", 2015, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from stream_app.core.errors import ConfigError
from stream_app.model.artifact import Artifact
from stream_app.model.decision import scaled
from training.data.corpus import Example
from training.judging.evaluate import score

_LEAST = 1e-7  # probability, so that its logarithm is one


@dataclass(frozen=True)
class ModelTeacher:
    """A fine-tuned model, on the engine that serves."""

    artifact: Artifact
    engine: str = "auto"

    @property
    def labels(self) -> tuple[str, ...]:
        return self.artifact.card.labels

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 [texts, labels]."""
        examples = [Example(text, ()) for text in texts]
        scored = score(self.artifact, examples, self.engine)
        calibrated = scaled(scored.logits, self.artifact.card, scored.lengths)
        return calibrated.astype(np.float32)


@dataclass(frozen=True)
class TfidfTeacher:
    """Logistic regression on word 1- and 2-grams weighted by TF-IDF."""

    labels: tuple[str, ...]
    pipeline: Pipeline

    @classmethod
    def fit(
        cls, examples: Sequence[Example], labels: tuple[str, ...], inverse_penalty: float = 30.0
    ) -> TfidfTeacher:
        """Learn from labelled texts. Raises ConfigError when a label has none."""
        if {example.label for example in examples} != set(labels):
            raise ConfigError(f"TF-IDF needs texts of each of the labels {', '.join(labels)}")
        pipeline = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, dtype=np.float32),
            LogisticRegression(C=inverse_penalty, max_iter=300),
        )
        pipeline.fit(
            [example.text for example in examples],
            [labels.index(example.label) for example in examples],
        )
        return cls(labels, pipeline)

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 [texts, labels]."""
        scores = self.pipeline.predict_proba(list(texts))
        return np.asarray(np.log(np.maximum(scores, _LEAST)), dtype=np.float32)
