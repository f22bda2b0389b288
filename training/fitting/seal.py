"""From files to a model: calibrated and evaluated as it will serve, its cards written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from stream_app.model.artifact import EXITS, Artifact, ModelCard
from stream_app.model.decision import probabilities
from training.data.augment import shortened
from training.data.corpus import Corpus, Example
from training.fitting.drift_reference import write_reference
from training.fitting.familiarity import write_familiarity
from training.fitting.model_files import unsealed
from training.judging.calibrate import Outcomes, temperature_and_evidence
from training.judging.card import write_cards
from training.judging.decisions import decided
from training.judging.evaluate import Scored, int8_agreement, rows_of, score
from training.judging.figures import measure, measure_short
from training.recipe import Recipe

ENGINE = "auto"  # what `winnow worker` serves with
_COPIES = 4  # of a text cut short: of one each, an error of 0.03 could be chance


def seal(out: Path, card: ModelCard, corpus: Corpus, recipe: Recipe) -> Artifact:
    """Calibrate and evaluate the files in `out` as they will be served, and write their cards.

    All is measured on a card in memory; the files are hashed once, when it is written.
    """
    card = without_exits(out, card)
    tests = {name: examples for name, examples in corpus.test.items() if examples}
    # first, because the engine takes int8 or not by what the card says of it
    agreement = int8_agreement(unsealed(out, card), tests.values())
    card = card.model_copy(update={"int8_agreement": agreement})
    write_familiarity(out, corpus)
    validation = score(unsealed(out, card), corpus.validation, ENGINE)
    card = calibrated(card, validation, cut_and_scored(unsealed(out, card), corpus.validation))
    model = unsealed(out, card)
    write_reference(model, corpus.validation, validation.logits)
    scored = {name: score(model, examples, ENGINE) for name, examples in tests.items()}
    card, bars = decided(card, recipe.decide, [validation, *scored.values()])
    evaluation = figures(model, card, tests, scored) | bars
    return write_cards(out, card.model_copy(update={"evaluation": evaluation, "files": {}}))


def figures(
    model: Artifact,
    card: ModelCard,
    tests: Mapping[str, Sequence[Example]],
    scored: Mapping[str, Scored],
) -> dict[str, Any]:
    """The card's evaluation: of each test, as it was scored and cut short."""
    return {
        "engine": ENGINE,
        "test": {name: measure(test, card) for name, test in scored.items()},
        "short": {
            name: measure_short(cut_and_scored(model, examples), card)
            for name, examples in tests.items()
        },
    }


def cut_and_scored(model: Artifact, examples: Sequence[Example]) -> Scored:
    """Copies of the examples cut short at several places, scored."""
    cuts = [cut for seed in range(1, 1 + _COPIES) for cut in shortened(examples, 1, seed)]
    return score(model, cuts, ENGINE)


def without_exits(out: Path, card: ModelCard) -> ModelCard:
    """Early exits fit the model that they were fitted to, and no other."""
    (out / EXITS).unlink(missing_ok=True)
    training = {key: value for key, value in card.training.items() if key != "exits"}
    return card.model_copy(update={"exit_confidence": None, "training": training})


def calibrated(card: ModelCard, whole: Scored, short: Scored) -> ModelCard:
    """The card with the temperature, and for multi-label the thresholds, that fit `whole` texts,
    and the evidence that fits those and `short` ones."""
    kinds = [_outcomes(kind, card) for scored in (whole, short) for kind in _by_source(scored)]
    divisor, evidence = temperature_and_evidence(_outcomes(whole, card), kinds)
    card = card.model_copy(update={"temperature": divisor, "evidence": evidence})
    if card.problem == "single_label":
        return card
    scores = probabilities(whole.logits, card, whole.lengths)
    return card.model_copy(update={"thresholds": _thresholds(scores, whole.truth, card)})


def _by_source(scored: Scored) -> list[Scored]:
    source = np.asarray(scored.slices["source"], dtype=np.str_)
    return [rows_of(scored, source == name) for name in np.unique(source)]


def _outcomes(scored: Scored, card: ModelCard) -> Outcomes:
    """Multi-label: one of two a label, since a sigmoid is a softmax over the logit and 0."""
    if card.problem == "single_label":
        return Outcomes(scored.logits, scored.lengths, scored.truth.argmax(axis=1))
    pairs = np.stack([np.zeros_like(scored.logits), scored.logits], axis=-1).reshape(-1, 2)
    counts = np.repeat(scored.lengths, scored.logits.shape[1])
    return Outcomes(pairs, counts, scored.truth.ravel().astype(np.int64))


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
