"""From files to a model: calibrated and evaluated as it will serve, its cards written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from stream_app.model.artifact import EXITS, Artifact, ModelCard
from stream_app.model.decision import probabilities
from training.data.corpus import Corpus
from training.fitting.drift_reference import write_reference
from training.fitting.model_files import unsealed
from training.judging.calibrate import temperature
from training.judging.card import write_cards
from training.judging.evaluate import Scored, int8_agreement, score
from training.judging.figures import measure

ENGINE = "auto"  # what `winnow worker` serves with


def seal(out: Path, card: ModelCard, corpus: Corpus) -> Artifact:
    """Calibrate and evaluate the files in `out` as they will be served, and write their cards.

    All is measured on a card in memory; the files are hashed once, when it is written.
    """
    card = _without_exits(out, card)
    tests = {name: examples for name, examples in corpus.test.items() if examples}
    # first, because the engine takes int8 or not by what the card says of it
    agreement = int8_agreement(unsealed(out, card), tests.values())
    card = card.model_copy(update={"int8_agreement": agreement})
    validation = score(unsealed(out, card), corpus.validation, ENGINE)
    card = calibrated(card, validation)
    model = unsealed(out, card)
    write_reference(model, corpus.validation, validation.logits)
    figures = {
        name: measure(score(model, examples, ENGINE), card) for name, examples in tests.items()
    }
    evaluation = {"engine": ENGINE, "test": figures}
    return write_cards(out, card.model_copy(update={"evaluation": evaluation, "files": {}}))


def _without_exits(out: Path, card: ModelCard) -> ModelCard:
    """Early exits fit the model that they were fitted to, and no other."""
    (out / EXITS).unlink(missing_ok=True)
    training = {key: value for key, value in card.training.items() if key != "exits"}
    return card.model_copy(update={"exit_confidence": None, "training": training})


def calibrated(card: ModelCard, scored: Scored) -> ModelCard:
    """The card with the temperature, and for multi-label the thresholds, that fit scored texts."""
    if card.problem == "single_label":
        truth = scored.truth.argmax(axis=1)
        return card.model_copy(update={"temperature": temperature(scored.logits, truth)})
    # a sigmoid is a softmax over the logit and 0
    logits = np.stack([np.zeros_like(scored.logits), scored.logits], axis=-1).reshape(-1, 2)
    card = card.model_copy(
        update={"temperature": temperature(logits, scored.truth.ravel().astype(np.int64))}
    )
    scores = probabilities(scored.logits, card, scored.lengths)
    return card.model_copy(update={"thresholds": _thresholds(scores, scored.truth, card)})


def _thresholds(
    scores: NDArray[np.float32], truth: NDArray[np.bool_], card: ModelCard
) -> dict[str, float]:
    """For each label the threshold of its highest F1, half way down to the next lower score.

    None where a label never is or always is true.
    """
    found = {}
    for column, label in enumerate(card.labels):
        if truth[:, column].any() and not truth[:, column].all():
            precision, recall, at = precision_recall_curve(truth[:, column], scores[:, column])
            f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
            best = int(f1[:-1].argmax())
            below = at[best - 1] if best else 0.0
            found[label] = round(float(at[best] + below) / 2, 4)
    return found
