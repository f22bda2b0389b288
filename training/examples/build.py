"""The steps in order: embed, cross-validate, fit on everything, calibrate, seal."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stream_app.engine.protocol import TokenIds
from stream_app.model.artifact import Artifact, ModelCard
from stream_app.model.decision import lengths
from stream_app.model.tokenizer import Tokenizer
from training.data.augment import shortened
from training.data.corpus import Corpus, Example
from training.examples.embeddings import Array, embeddings, write_classifier
from training.examples.found import Examples
from training.examples.probe import NGRAMS, STRENGTH, Learnable, Probe, fit_probe
from training.examples.validation import Judged, best_share, cross_validated
from training.fitting.drift_reference import write_reference
from training.fitting.familiarity import write_familiarity
from training.fitting.model_files import copy_tokenizer, unsealed
from training.fitting.seal import ENGINE, calibrated
from training.judging import metrics
from training.judging.card import write_cards
from training.judging.evaluate import Scored, int8_agreement, true_labels
from training.judging.figures import measure

MAX_TOKENS = 256
TEST = "cross-validation"  # the name of its figures in a card
TFIDF = "tfidf"  # and of those of TF-IDF on the same texts
UNFAMILIAR = 0.01


@dataclass(frozen=True, slots=True)
class Job:
    """What to learn, from which encoder, and where to write it; `lineage` is for the card."""

    found: Examples
    encoder: Artifact
    out: Path
    name: str
    lineage: Sequence[dict[str, Any]]
    progress: Callable[[str], None]


def fit(job: Job) -> Artifact:
    """The model in `job.out`, measured and sealed. Raises WinnowError."""
    started = time.monotonic()
    found = job.found
    card = ModelCard(
        name=job.name,
        version="1",
        labels=found.labels,
        problem=found.problem,
        max_tokens=MAX_TOKENS,
        description=f"Made from {len(found.examples)} examples.",
        data=list(job.lineage),
    )
    model = Artifact(
        job.encoder.path, card.model_copy(update={"tokenizer": job.encoder.card.tokenizer}), ""
    )
    ids = Tokenizer(model).encode([example.text for example in found.examples])
    truth = true_labels(found.examples, card)
    job.progress("embedding the texts")
    whole = embeddings(job.encoder, ids)
    learnt = _learnable(job, model, whole, truth)
    judged = cross_validated(learnt, whole, found.problem, job.progress)
    share = best_share(judged.linear, judged.head, truth, found.problem)
    job.progress("fitting on every text")
    probe = fit_probe(learnt, found.problem).weighed(share)
    _write(job, probe)
    logits = judged.linear + np.float32(share) * judged.head
    scored = _scored(found.examples, logits, truth, ids)
    card = calibrated(card, scored, _short(job, model, judged, share))
    training = {
        "method": "linear classifier on frozen embeddings, and n-gram head",
        "texts": len(found.examples),
        "strength": STRENGTH,
        "ngrams": {**NGRAMS.model_dump(), "share": round(share, 3)},
        "encoder": {"sha256": job.encoder.digest, "origin": job.encoder.card.description},
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("torch", "scikit-learn", "tokenizers")},
    }
    card = card.model_copy(update={"training": training, "familiar_at": UNFAMILIAR})
    return _sealed(job, card, scored, judged, started)


def _sealed(job: Job, card: ModelCard, scored: Scored, judged: Judged, started: float) -> Artifact:
    """The files in `job.out` as a model: what is known of it on its card, and beside it."""
    examples = list(job.found.examples)
    write_familiarity(job.out, Corpus(train=examples))
    agreement = int8_agreement(unsealed(job.out, card), [examples])
    card = card.model_copy(update={"int8_agreement": agreement})
    write_reference(unsealed(job.out, card), examples, scored.logits)
    figures = {k: v for k, v in measure(scored, card).items() if not k.endswith("_per_second")}
    evaluation = {"engine": ENGINE, "test": {TEST: figures}, TFIDF: _tfidf(judged, scored, card)}
    minutes = round((time.monotonic() - started) / 60, 2)
    training = {**card.training, "minutes": minutes}
    known = {"evaluation": evaluation, "training": training, "files": {}}
    return write_cards(job.out, card.model_copy(update=known))


def _tfidf(judged: Judged, scored: Scored, card: ModelCard) -> dict[str, Any]:
    """Accuracy of TF-IDF on the same texts, with its interval."""
    if card.problem == "single_label":
        right = judged.tfidf.argmax(axis=1) == scored.truth.argmax(axis=1)
    else:
        right = ((judged.tfidf > 0) == scored.truth).all(axis=1)
    interval = metrics.exact_interval(int(right.sum()), len(right))
    return {"accuracy": metrics.rounded(right.mean()), "interval": interval}


def _learnable(job: Job, model: Artifact, whole: Array, truth: NDArray[np.bool_]) -> Learnable:
    """The texts, and of the longer ones their halves: an embedding of each is one more to learn."""
    texts = [example.text for example in job.found.examples]
    halves = [(row, half) for row, text in enumerate(texts) for half in _halves(text)]
    ids = Tokenizer(model).encode([half for _, half in halves])
    crops = np.concatenate([whole, embeddings(job.encoder, ids)]) if halves else whole
    crop_of = np.array([*range(len(texts)), *(row for row, _ in halves)])
    return Learnable(texts, crops, crop_of, truth)


_LEAST_WORDS = 60  # of a text that is also learnt by halves


def _halves(text: str) -> list[str]:
    words = text.split(" ")
    if len(words) < _LEAST_WORDS:
        return []
    middle = len(words) // 2
    return [" ".join(words[:middle]), " ".join(words[middle:])]


def _short(job: Job, model: Artifact, judged: Judged, share: float) -> Scored:
    """Texts cut short, each scored by a model that has not learnt from it."""
    examples = job.found.examples
    parts, logits = [], []
    for (_, held), probe in zip(judged.folds, judged.probes, strict=True):
        cut = shortened([examples[row] for row in held.tolist()], 1, seed=1)
        texts = [example.text for example in cut]
        ids = Tokenizer(model).encode(texts)
        weighed = probe.weighed(share)
        embedded = embeddings(job.encoder, ids)
        logits.append(weighed.linear.logits(embedded) + weighed.head.logits(texts))
        parts.append((cut, ids))
    cuts = [example for cut, _ in parts for example in cut]
    every = [text for _, ids in parts for text in ids]
    return _scored(cuts, np.concatenate(logits), true_labels(cuts, model.card), every)


def _scored(
    examples: Sequence[Example], logits: Array, truth: NDArray[np.bool_], ids: Sequence[TokenIds]
) -> Scored:
    slices = {
        "length": metrics.length_slices([len(example.text.split()) for example in examples]),
        "language": [example.language for example in examples],
        "source": [example.source for example in examples],
    }
    return Scored(logits, truth, lengths(ids), sum(map(len, ids)), 1.0, slices)


def _write(job: Job, probe: Probe) -> None:
    write_classifier(job.encoder, probe.linear.weight, probe.linear.bias, job.found.labels, job.out)
    copy_tokenizer(job.encoder.tokenizer, job.out)
    probe.head.save(job.out)
