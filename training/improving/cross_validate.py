"""Accuracy of a recipe on messages, or on whole corpora, that its model did not learn from."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stream_app.core.errors import ConfigError
from stream_app.model.artifact import Artifact, ModelCard, load_artifact
from stream_app.model.decision import scaled
from training.data.corpus import Corpus, Example, load_folds
from training.data.split import development_parts, like_any
from training.fitting.build import FitJob, fit_model, save, with_head
from training.fitting.model_files import unsealed
from training.fitting.seal import ENGINE, calibrated, held_out
from training.judging.card import UNSEEN, write_cards
from training.judging.evaluate import Scored, labels_given, score
from training.recipe import Recipe

_log = logging.getLogger(__name__)


def out_of_fold(job: FitJob, encoder: Artifact, count: int) -> dict[str, Scored]:
    """Every message scored by a model that learnt from the other folds.

    The folds' logits are calibrated, each by its own model, so that one bar is for all. Of several
    labels each model gives those at or above its own thresholds.
    """
    folds = load_folds(job.recipe, job.data, count)
    corpora = [(f"fold {number}", *_without(folds, number)) for number in range(count)]
    scored = [_fitted_and_scored(job, encoder, *corpus) for corpus in corpora]
    return {"out of fold": _together(scored, encoder.card)}


def cross_corpus(job: FitJob, encoder: Artifact) -> dict[str, Scored]:
    """Each source of the recipe scored by a model that learnt from the others alone.

    Near-duplicates of the source in the others are left out. Raises ConfigError for one source.
    """
    (messages,) = load_folds(job.recipe, job.data, 1)
    names = sorted({example.source for example in messages})
    if len(names) < 2:
        raise ConfigError(f"recipe {job.recipe.name} has one source, and --by source needs two")
    found = {}
    for name in names:
        tested = [example for example in messages if example.source == name]
        others = [example for example in messages if example.source != name]
        alike = like_any([example.text for example in others], [ex.text for ex in tested])
        learnt = [example for example, leaks in zip(others, alike, strict=True) if not leaks]
        found[f"{name}{UNSEEN}"] = _fitted_and_scored(job, encoder, name, learnt, tested)
    return found


def model_of(recipe: Recipe, folder: Path) -> Artifact:
    """The model in `folder`. Raises ModelError, and ConfigError for another recipe's."""
    model = load_artifact(folder)
    if (model.card.name, model.card.labels) != (recipe.name, recipe.labels):
        raise ConfigError(f"{folder} is a model of {model.card.name}, not of recipe {recipe.name}")
    return model


def add_to_card(model: Artifact, by: str, figures: Mapping[str, Any]) -> None:
    """Write the figures `by` fold or source into a model's card and README."""
    card = model.card
    ways = {**card.evaluation.get("cross_validation", {}), by: dict(figures)}
    card = card.model_copy(update={"evaluation": {**card.evaluation, "cross_validation": ways}})
    write_cards(model.path, card)


def _without(
    folds: Sequence[Sequence[Example]], number: int
) -> tuple[list[Example], list[Example]]:
    """Training texts and test texts."""
    learnt = [ex for other, fold in enumerate(folds) if other != number for ex in fold]
    return learnt, list(folds[number])


def _fitted_and_scored(
    job: FitJob,
    encoder: Artifact,
    name: str,
    learnt: Sequence[Example],
    tested: Sequence[Example],
) -> Scored:
    """Scores of `tested`, their logits calibrated on a twentieth of `learnt`."""
    _log.info("%s: learning from %d texts, testing on %d", name, len(learnt), len(tested))
    corpus = Corpus()
    texts = [example.text.encode("utf-8", "surrogatepass") for example in learnt]
    for example, part in zip(learnt, development_parts(texts), strict=True):
        (corpus.validation if part == "validation" else corpus.train).append(example)
    model = fit_model(job, encoder, corpus)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        save(model, dataclasses.replace(job, out=out, tokenizer="."), encoder)
        fitted = unsealed(out, with_head(out, encoder.card, corpus, job.recipe))
        card = calibrated(fitted.card, *held_out(fitted, corpus, job.recipe))
        scored = score(fitted, tested, ENGINE)
    calm = scaled(scored.logits, card, scored.lengths).astype(np.float32)
    return dataclasses.replace(scored, logits=calm, given=labels_given(scored, card))


def _together(parts: Sequence[Scored], card: ModelCard) -> Scored:
    return Scored(
        logits=np.concatenate([part.logits for part in parts]),
        truth=np.concatenate([part.truth for part in parts]),
        lengths=np.concatenate([part.lengths for part in parts]),
        tokens=sum(part.tokens for part in parts),
        seconds=sum(part.seconds for part in parts),
        slices={
            name: [value for part in parts for value in part.slices[name]]
            for name in parts[0].slices
        },
        given=np.concatenate([labels_given(part, card) for part in parts]),
    )
