"""From files to a model: calibrated and evaluated as it will serve, its cards written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stream_app.model.artifact import EXITS, Artifact, ModelCard
from training.data.augment import cuts
from training.data.corpus import Corpus, Example
from training.fitting.drift_reference import write_reference
from training.fitting.familiarity import write_familiarity
from training.fitting.lean import lean_again
from training.fitting.model_files import unsealed
from training.judging.calibrate import Outcomes, as_choices, temperature_and_evidence
from training.judging.card import write_cards
from training.judging.decisions import decided
from training.judging.evaluate import (
    SHORT,
    Scored,
    int8_agreement,
    rows_of,
    score,
    short_texts,
    sources,
)
from training.judging.figures import measure, measure_short
from training.judging.thresholds import with_thresholds
from training.recipe import Recipe

ENGINE = "auto"  # what `winnow worker` serves with


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
    validation, short = held_out(unsealed(out, card), corpus, recipe)
    card = calibrated(card, validation, short)
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
            name: measure_short(score(model, cuts(examples), ENGINE), card)
            for name, examples in tests.items()
        },
    }


def without_exits(out: Path, card: ModelCard) -> ModelCard:
    """Early exits fit the model that they were fitted to, and no other."""
    (out / EXITS).unlink(missing_ok=True)
    training = {key: value for key, value in card.training.items() if key != "exits"}
    return card.model_copy(update={"exit_confidence": None, "training": training})


def held_out(model: Artifact, corpus: Corpus, recipe: Recipe) -> tuple[Scored, Scored]:
    """The validation texts and short ones, scored: copies cut short, or where the recipe says that
    first words do not have a text's label, those that are short. Where the recipe asks for it, the
    head's lean is fitted to both."""
    whole = corpus.validation
    validation = score(model, whole, ENGINE)
    if recipe.decide.first_words:
        short = cuts(whole)
        found = [validation, score(model, short, ENGINE)]
    else:
        few = (validation.lengths <= SHORT).tolist()
        short = [example for example, is_short in zip(whole, few, strict=True) if is_short]
        found = [validation, short_texts(validation)]
    if recipe.ngrams and recipe.ngrams.lean and whole:
        found = lean_again(model, (whole, short), found)
    return found[0], found[1]


def calibrated(card: ModelCard, whole: Scored, short: Scored) -> ModelCard:
    """The card with the temperature and evidence, and for multi-label the thresholds, that fit
    `whole` texts and `short` ones."""
    kinds = [
        _outcomes(rows_of(scored, rows), card)
        for scored in (whole, short)
        for rows in sources(scored)
    ]
    divisor, evidence = temperature_and_evidence(kinds)
    card = card.model_copy(update={"temperature": divisor, "evidence": evidence})
    return card if card.problem == "single_label" else with_thresholds(card, (whole, short))


def _outcomes(scored: Scored, card: ModelCard) -> Outcomes:
    logits, truth = as_choices(scored.logits, scored.truth, card.problem)
    choices = 1 if card.problem == "single_label" else len(card.labels)  # of a text
    return Outcomes(logits, np.repeat(scored.lengths, choices), truth)
