"""Soft targets: teachers' scores of the training texts, and of unlabelled texts.

Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2: the student
learns a weighted mean of the truth and of the teachers' probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_app.core.errors import ConfigError
from stream_app.model.artifact import CARD, ModelCard, load_artifact
from stream_app.model.decision import activated
from stream_app.model.references import resolve_folder
from training.data.corpus import Example
from training.data.split import hash_number
from training.fitting.teachers import ClassifierTeacher, ModelTeacher, TfidfTeacher
from training.judging.evaluate import true_labels

TFIDF = "tfidf"
_FOLDS = 5


def soft_targets(
    train: Sequence[Example],
    unlabelled: Sequence[Example],
    teachers: Sequence[str],
    card: ModelCard,
    share: float,
) -> NDArray[np.float32]:
    """Probabilities [train + unlabelled, labels] to fit a model of this card to.

    `teachers` are model references, folders of any sequence classifier that transformers reads, or
    `tfidf`; several count the same. Their part of a labelled text's target is `share`, of an
    unlabelled one's all. Raises ConfigError, ModelError.
    """
    models = [_teacher(name, card) for name in teachers if name != TFIDF]
    texts = [example.text for example in (*train, *unlabelled)]
    said = [model.logits(texts) for model in models]
    if TFIDF in teachers:
        said.append(_tfidf(train, unlabelled, card))
    taught = activated(np.mean(said, axis=0, dtype=np.float64), card)
    taught[: len(train)] *= share
    taught[: len(train)] += (1 - share) * true_labels(train, card)
    return taught


def _teacher(name: str, card: ModelCard) -> ModelTeacher | ClassifierTeacher:
    folder = resolve_folder(name)
    if not (folder / CARD).exists():
        return ClassifierTeacher.load(folder, card)
    model = ModelTeacher(load_artifact(folder))
    if model.labels != card.labels:
        raise ConfigError(f"a teacher needs the recipe's labels, in order: {card.labels}")
    return model


def _tfidf(
    train: Sequence[Example], unlabelled: Sequence[Example], card: ModelCard
) -> NDArray[np.float32]:
    """Logits [train + unlabelled, labels]; of a text that it could have learnt from, by one that
    has not: it would only repeat the text's label."""
    if card.problem != "single_label":
        raise ConfigError("tfidf teaches recipes with one label a text: name a model as teacher")
    logits = np.empty((len(train) + len(unlabelled), len(card.labels)), np.float32)
    # by the text: one that comes twice would give its label away
    fold = np.array(
        [hash_number(example.text.encode("utf-8", "surrogatepass")) % _FOLDS for example in train]
    )
    for held_out in range(_FOLDS):
        rest = [ex for ex, number in zip(train, fold, strict=True) if number != held_out]
        rows = np.flatnonzero(fold == held_out).tolist()
        teacher = TfidfTeacher.fit(rest, card.labels)
        logits[rows] = teacher.logits([train[row].text for row in rows])
    if unlabelled:
        teacher = TfidfTeacher.fit(train, card.labels)
        logits[len(train) :] = teacher.logits([example.text for example in unlabelled])
    return logits
