"""What can score texts can teach: our models, any classifier of transformers, and TF-IDF. The
softmax of its logits is what a teacher believes.

A student fitted to the average of good teachers' scores can pass each of them: Hinton, Vinyals,
Dean, "Distilling the Knowledge in a Neural Network", 2015, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from stream_app.core.errors import ConfigError, ModelError
from stream_app.model.artifact import Artifact, ModelCard
from stream_app.model.decision import scaled
from training.data.corpus import Example
from training.fitting.finetune import has_bfloat16, quiet
from training.judging.evaluate import score

_BATCH = 32  # texts of about one length
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
class ClassifierTeacher:
    """Any sequence classifier that transformers reads; nothing is unpickled.

    Its softmax is taken at its word: no card tells its temperature.
    """

    card: ModelCard  # of the student
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @classmethod
    def load(cls, folder: Path, card: ModelCard) -> ClassifierTeacher:
        """The classifier in `folder`. Raises ModelError where it is none, or has other labels."""
        quiet()
        try:
            model = AutoModelForSequenceClassification.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            why = str(error).partition("\n")[0]
            raise ModelError(f"teacher {folder} is no classifier that can be read: {why}") from None
        labels = set((model.config.id2label or {}).values())
        if labels != set(card.labels):
            told, wanted = ", ".join(sorted(labels)), ", ".join(card.labels)
            raise ModelError(f"teacher {folder} tells {told} apart; the recipe's are {wanted}")
        torch.nn.Module.to(model.eval(), "cuda" if torch.cuda.is_available() else "cpu")
        return cls(card, model, tokenizer)

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 [texts, labels], in the order of the card's labels."""
        return self.logits_of(self.ids(texts))

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The teacher's own token ids of each text, as many as the student may read."""
        most = min(self.card.max_tokens, self.tokenizer.model_max_length)
        found = self.tokenizer(list(texts), truncation=True, max_length=most)
        return [list(ids) for ids in found["input_ids"]]

    @torch.inference_mode()
    def logits_of(self, ids: Sequence[list[int]]) -> NDArray[np.float32]:
        """float32 [texts, labels] of token ids."""
        names = self.model.config.id2label or {}
        order = sorted(names, key=lambda index: self.card.labels.index(names[index]))
        device, found = self.model.device, np.empty((len(ids), len(order)), np.float32)
        by_length = np.argsort([len(text) for text in ids]).tolist()
        for first in range(0, len(ids), _BATCH):
            rows = by_length[first : first + _BATCH]
            batch = self.tokenizer.pad(
                {"input_ids": [ids[row] for row in rows]}, return_tensors="pt"
            ).to(device)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bfloat16()):
                logits = self.model(**batch).logits  # [rows, labels]
            found[rows] = logits.float().cpu().numpy()[:, order]
        return found


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
