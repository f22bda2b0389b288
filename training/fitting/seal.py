"""From files to a model: calibrated and evaluated as it will serve, its cards written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from stream_app.model.artifact import Artifact, ModelCard, load_artifact, write_card
from stream_app.model.decision import probabilities
from training.data.corpus import Corpus
from training.fitting.drift_reference import write_reference
from training.judging.calibrate import temperature
from training.judging.card import write_readme
from training.judging.evaluate import Scored, int8_agreement, measure, score

ENGINE = "auto"  # what `winnow worker` serves with


def seal(out: Path, card: ModelCard, corpus: Corpus) -> Artifact:
    """Calibrate and evaluate the files in `out` as they will be served, and write their cards."""
    tests = {name: examples for name, examples in corpus.test.items() if examples}
    write_card(out, card)
    # first, because the engine takes int8 or not by what the card says of it
    agreement = int8_agreement(load_artifact(out), tests.values())
    card = card.model_copy(update={"int8_agreement": agreement})
    write_card(out, card)
    validation = score(load_artifact(out), corpus.validation, ENGINE)
    card = calibrated(card, validation)
    write_card(out, card)
    write_reference(load_artifact(out), corpus.validation, validation.logits)
    write_card(out, card)
    artifact = load_artifact(out)
    figures = {
        name: measure(score(artifact, examples, ENGINE), card) for name, examples in tests.items()
    }
    card = card.model_copy(update={"evaluation": {"engine": ENGINE, "test": figures}})
    write_card(out, card)
    write_readme(out, card)
    return load_artifact(out)


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
    scores = probabilities(scored.logits, card)
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
