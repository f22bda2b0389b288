"""The steps in order: load, fit, calibrate, evaluate, seal."""

from __future__ import annotations

import logging
import platform
import shutil
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import AlbertForSequenceClassification

from stream_app.core.errors import ConfigError, ModelError
from stream_app.model.artifact import (
    TOKENIZER,
    WEIGHTS,
    Artifact,
    ModelCard,
    load_artifact,
    sha256,
    write_card,
)
from stream_app.model.tokenizer import Tokenizer
from training.calibrate import temperature
from training.data import Corpus, load_corpus
from training.evaluate import int8_agreement, measure, score
from training.fit import Tokenized, fine_tune, has_bfloat16
from training.recipe import Recipe

_log = logging.getLogger(__name__)
_TOKENIZER_FILES = (TOKENIZER, "tokenizer_config.json")
ENGINE = "auto"  # what `winnow worker` serves with


@dataclass(frozen=True, slots=True)
class FitJob:
    """What to make, from what, and where to."""

    recipe: Recipe
    data: Path
    encoder: Path
    out: Path
    tokenizer: str = "."  # folder of the tokenizer, relative to `out`
    steps: int | None = None  # end early: to try things out


def fit(job: FitJob) -> Artifact:
    """Make the artifact `job.out`, measured and sealed. Raises WinnowError."""
    encoder = _encoder(job)
    started = time.monotonic()
    _log.info("reading the data of recipe %s", job.recipe.name)
    corpus = load_corpus(job.recipe, job.data)
    if not corpus.train:
        raise ConfigError(f"recipe {job.recipe.name} has nothing to train on")
    data = _tokenized(encoder, corpus)
    _log.info("fitting %d texts, %d tokens", len(data), sum(map(len, data.ids)))
    with tempfile.TemporaryDirectory() as scratch:
        model = fine_tune(job.recipe, job.encoder, data, steps=job.steps, scratch=Path(scratch))
    minutes = (time.monotonic() - started) / 60
    _save(model, job)
    card = encoder.card.model_copy(
        update={
            "tokenizer": job.tokenizer,
            "data": corpus.lineage,
            "training": _training(job, encoder, len(data), minutes),
        }
    )
    return _seal(job.out, card, corpus)


def _encoder(job: FitJob) -> Artifact:
    """The encoder as an artifact with the card the model is going to have."""
    for name in ("config.json", WEIGHTS, TOKENIZER):
        if not (job.encoder / name).is_file():
            raise ModelError(f"encoder {job.encoder} has no {name}: give an ALBERT folder")
    shared = job.out / job.tokenizer / TOKENIZER
    if shared.exists() and sha256(shared) != sha256(job.encoder / TOKENIZER):
        raise ModelError(f"{shared} is not the encoder's tokenizer: give another --out")
    recipe = job.recipe
    card = ModelCard(
        name=recipe.name,
        version=recipe.version,
        labels=recipe.labels,
        preparation=recipe.preparation,
        max_tokens=recipe.max_tokens,
        truncation=recipe.truncation,
        description=recipe.description,
    )
    return Artifact(job.encoder, card, sha256(job.encoder / WEIGHTS))


def _tokenized(encoder: Artifact, corpus: Corpus) -> Tokenized:
    ids = Tokenizer(encoder).encode([example.text for example in corpus.train])
    labels = encoder.card.labels
    return Tokenized(ids, [labels.index(example.label) for example in corpus.train])


def _save(model: AlbertForSequenceClassification, job: FitJob) -> None:
    """The weights as float16, and the encoder's tokenizer."""
    job.out.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(job.out)
    (job.out / WEIGHTS).chmod(0o644)  # safetensors writes for its owner only
    folder = job.out / job.tokenizer
    folder.mkdir(parents=True, exist_ok=True)
    for file in filter(Path.exists, (job.encoder / name for name in _TOKENIZER_FILES)):
        shutil.copyfile(file, folder / file.name)


def _seal(out: Path, card: ModelCard, corpus: Corpus) -> Artifact:
    """Calibrate and evaluate the files in `out` as they will be served, and write their card."""
    write_card(out, card)
    scored = score(load_artifact(out), corpus.validation, ENGINE)
    card = card.model_copy(update={"temperature": temperature(scored.logits, scored.truth)})
    write_card(out, card)
    artifact = load_artifact(out)
    figures = {
        file: measure(score(artifact, examples, ENGINE), card)
        for file, examples in corpus.test.items()
    }
    agreement = int8_agreement(artifact, corpus.test.values())
    evaluation = {"engine": ENGINE, "test": figures}
    write_card(out, card.model_copy(update={"int8_agreement": agreement, "evaluation": evaluation}))
    return load_artifact(out)


def _origin(job: FitJob, digest: str) -> str:
    expected = job.recipe.encoder
    if expected is not None and expected.sha256 == digest:
        return expected.origin
    return f"{job.encoder.resolve().name}, another encoder than the recipe names"


def _training(job: FitJob, encoder: Artifact, rows: int, minutes: float) -> dict[str, Any]:
    packages = ("torch", "transformers", "accelerate", "tokenizers")
    return {
        "recipe": job.recipe.name,
        **job.recipe.hyper.model_dump(),
        "steps": job.steps,
        "rows": rows,
        "encoder": {"sha256": encoder.digest, "origin": _origin(job, encoder.digest)},
        "precision": "bfloat16" if has_bfloat16() else "float32",
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "minutes": round(minutes, 1),
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
    }
