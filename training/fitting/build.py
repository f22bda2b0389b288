"""The steps in order: load, augment, fit, add the n-gram head, calibrate, evaluate, seal."""

from __future__ import annotations

import logging
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AlbertForSequenceClassification, TrainerCallback

from stream_app.core.errors import ConfigError, ModelError
from stream_app.engine.pooled import PooledAlbert
from stream_app.model.artifact import (
    CARD,
    NGRAMS,
    TOKENIZER,
    WEIGHTS,
    Artifact,
    ModelCard,
    load_artifact,
    sha256,
)
from stream_app.model.checks.config import positions
from stream_app.model.references import resolve_folder
from stream_app.model.tokenizer import Tokenizer
from training.data.augment import with_copies
from training.data.corpus import Corpus, Example, load_corpus
from training.fitting.finetune import FitRun, Tokenized, fine_tune, has_bfloat16
from training.fitting.model_files import copy_tokenizer, require_encoder, unsealed
from training.fitting.ngrams import add_head
from training.fitting.saving import save_weights
from training.fitting.seal import ENGINE, seal
from training.fitting.soft_targets import TFIDF, soft_targets
from training.judging.evaluate import true_labels
from training.recipe import Recipe

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FitJob:
    """The inputs of a fit, and its output folder."""

    recipe: Recipe
    data: Path
    encoder: str | None  # a folder or hf://ORG/NAME; None takes the recipe's
    out: Path
    tokenizer: str = "."  # folder of the tokenizer, relative to `out`
    steps: int | None = None  # end early: to try things out
    checkpoints: Path | None = None  # continue from the last one in it, and add to them
    teachers: Sequence[str] = ()  # model references, or tfidf: learn what they say, too
    log_to: Sequence[str] = ()
    callbacks: Sequence[TrainerCallback] = ()


def build(job: FitJob) -> Artifact | None:
    """Make the artifact `job.out`, measured and sealed. Raises WinnowError.

    None in a process that `accelerate launch` or `torchrun` started to help the first.
    """
    encoder = load_encoder(job.recipe, job.encoder)
    _check_shared_tokenizer(job, encoder)
    _log.info("reading the data of recipe %s", job.recipe.name)
    corpus = load_corpus(job.recipe, job.data)
    started = time.monotonic()
    model = fit_model(job, encoder, corpus)
    minutes = (time.monotonic() - started) / 60
    if not _is_first_process():
        return None
    save(model, job, encoder)
    card = encoder.card.model_copy(
        update={
            "tokenizer": job.tokenizer,
            "data": corpus.lineage,
            "training": _training(job, encoder, len(corpus.train), minutes),
        }
    )
    return seal(job.out, with_head(job.out, card, corpus, job.recipe), corpus, job.recipe)


def add_ngrams(model: Artifact, recipe: Recipe, data: Path) -> Artifact:
    """The model with the n-gram head of the recipe in its folder, sealed again.

    Raises ConfigError when the recipe has no n-gram head or other labels than the model.
    """
    if recipe.ngrams is None or recipe.labels != model.card.labels:
        raise ConfigError(f"recipe {recipe.name} has no n-gram head for {model.card.labels}")
    corpus = load_corpus(recipe, data)
    (model.path / NGRAMS).unlink(missing_ok=True)
    refit = NGRAMS in model.card.files
    card = model.card.model_copy(
        update={
            "version": recipe.version,
            "description": recipe.description,
            "preparation": recipe.preparation,
            "parent": model.card.parent if refit else f"{model.card.name} {model.card.version}",
            "training": model.card.training | ({} if refit else {"encoder_data": model.card.data}),
            "data": corpus.lineage,
        }
    )
    return seal(model.path, with_head(model.path, card, corpus, recipe), corpus, recipe)


def add_decisions(model: Artifact, recipe: Recipe, data: Path) -> Artifact:
    """The model calibrated and evaluated again, with the recipe's bars and its familiarity.

    Raises ConfigError when the recipe has other labels than the model.
    """
    if recipe.labels != model.card.labels:
        raise ConfigError(f"recipe {recipe.name} is not for the labels {model.card.labels}")
    corpus = load_corpus(recipe, data)
    known = {
        "version": recipe.version,
        "description": recipe.description,
        "preparation": recipe.preparation,  # its texts are measured as it will read them
        "data": corpus.lineage,
    }
    if head := model.card.training.get("ngrams"):
        leans = bool(recipe.ngrams and recipe.ngrams.lean)
        known["training"] = {**model.card.training, "ngrams": {**head, "lean": leans}}
    return seal(model.path, model.card.model_copy(update=known), corpus, recipe)


def with_head(out: Path, card: ModelCard, corpus: Corpus, recipe: Recipe) -> ModelCard:
    """The card, with what is to be known of the n-gram head that now lies in `out`."""
    if recipe.ngrams is None:
        return card
    alone = card.model_copy(update={"span": 0.0})
    span, figures = add_head(unsealed(out, alone), corpus, recipe.ngrams, ENGINE)
    training = {**card.training, "ngrams": figures}
    return card.model_copy(update={"span": span, "training": training})


def fit_model(job: FitJob, encoder: Artifact, corpus: Corpus) -> AlbertForSequenceClassification:
    """The encoder fine-tuned on the training part of a corpus. Raises ConfigError without one."""
    recipe, train = job.recipe, with_copies(job.recipe, corpus.train)
    if not train:
        raise ConfigError(f"recipe {recipe.name} has nothing to train on")
    data, validation = _targets(job, encoder, train, corpus), tokenized(encoder, corpus.validation)
    _log.info("fitting %d texts, %d tokens", len(data), sum(map(len, data.ids)))
    with tempfile.TemporaryDirectory() as scratch:
        run = FitRun(
            scratch=Path(scratch),
            steps=job.steps,
            checkpoints=job.checkpoints,
            origin={
                "encoder": encoder.digest,
                "data": corpus.lineage,
                "steps": job.steps,
                "teachers": list(job.teachers),
            },
            log_to=job.log_to,
            callbacks=job.callbacks,
        )
        return fine_tune(
            recipe,
            encoder.path,
            data,
            validation,
            run,
            PooledAlbert.from_pretrained,
        )


def _targets(job: FitJob, encoder: Artifact, train: Sequence[Example], corpus: Corpus) -> Tokenized:
    """The targets to fit: the labels, or with teachers their scores, also of unlabelled texts."""
    if job.teachers:
        if TFIDF in job.teachers and job.recipe.augmentation:
            raise ConfigError(
                "tfidf would repeat the label of a text that it saw an altered copy of: "
                "leave out the teacher tfidf, or [augmentation]"
            )
        texts, share = corpus.unlabelled, job.recipe.hyper.teacher_share
        targets = soft_targets(train, texts, job.teachers, encoder.card, share)
        examples = [*train, *texts]
        data = replace(tokenized(encoder, examples), targets=targets)
    else:
        if corpus.unlabelled:
            _log.warning("%d unlabelled texts are left out: no --teacher", len(corpus.unlabelled))
        examples, data = list(train), tokenized(encoder, train)
    return data.repeated([example.times for example in examples])


def load_encoder(recipe: Recipe, reference: str | None) -> Artifact:
    """The encoder as an artifact with the card the model is going to have. Raises WinnowError.

    A model that was made before is an encoder too, which goes on from what it knows.
    """
    reference = reference or (recipe.encoder.reference if recipe.encoder else None)
    if reference is None:
        raise ConfigError(f"recipe {recipe.name} names no encoder to fetch: give --encoder")
    folder = resolve_folder(reference)
    tokenizer = load_artifact(folder).card.tokenizer if (folder / CARD).exists() else "."
    require_encoder(folder, tokenizer)
    if recipe.max_tokens > (most := positions(folder)):
        raise ConfigError(
            f"recipe {recipe.name} has max_tokens = {recipe.max_tokens}, but encoder {folder} has "
            f"only {most} positions: lower it, or give an encoder that reads more"
        )
    card = empty_card(recipe).model_copy(update={"tokenizer": tokenizer})
    return Artifact(folder, card, sha256(folder / WEIGHTS))


def empty_card(recipe: Recipe) -> ModelCard:
    """What is known of a recipe's model before it is made."""
    return ModelCard(
        name=recipe.name,
        version=recipe.version,
        labels=recipe.labels,
        problem=recipe.problem,
        preparation=recipe.preparation,
        max_tokens=recipe.max_tokens,
        truncation=recipe.truncation,
        description=recipe.description,
    )


def tokenized(encoder: Artifact, examples: Sequence[Example]) -> Tokenized:
    """Token ids of examples and their true labels as targets."""
    ids = Tokenizer(encoder).encode([example.text for example in examples])
    return Tokenized(ids, true_labels(examples, encoder.card).astype(np.float32))


def _check_shared_tokenizer(job: FitJob, encoder: Artifact) -> None:
    shared = job.out / job.tokenizer / TOKENIZER
    if shared.exists() and sha256(shared) != sha256(encoder.tokenizer / TOKENIZER):
        raise ModelError(f"{shared} is not the encoder's tokenizer: give another --out")


def _is_first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def save(model: AlbertForSequenceClassification, job: FitJob, encoder: Artifact) -> None:
    """Write the fitted weights as the recipe wants them stored, and the encoder's tokenizer."""
    save_weights(model, job.out, job.recipe.stored)
    (job.out / NGRAMS).unlink(missing_ok=True)  # of a model that was here before
    copy_tokenizer(encoder.tokenizer, job.out / job.tokenizer)


def _origin(job: FitJob, encoder: Artifact) -> str:
    expected = job.recipe.encoder
    if expected is not None:
        fetched = job.encoder in (None, expected.reference)
        if expected.sha256 == encoder.digest or (expected.sha256 is None and fetched):
            return expected.origin
    return f"{encoder.path.resolve().name}, another encoder than the recipe names"


def _training(job: FitJob, encoder: Artifact, rows: int, minutes: float) -> dict[str, Any]:
    packages = ("torch", "transformers", "accelerate", "tokenizers")
    recipe = job.recipe
    return {
        "recipe": recipe.name,
        **recipe.hyper.model_dump(),
        "stored": recipe.stored,
        "augmentation": recipe.augmentation.model_dump() if recipe.augmentation else None,
        "steps": job.steps,
        "teachers": list(job.teachers),
        "rows": rows,
        "encoder": {"sha256": encoder.digest, "origin": _origin(job, encoder)},
        "precision": "bfloat16" if has_bfloat16() else "float32",
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "threads": torch.get_num_threads(),
        "minutes": round(minutes, 1),
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
    }
