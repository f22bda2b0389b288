"""The steps in order: embed, cross-validate, fit on everything, calibrate, seal."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stream_app.engine.protocol import TokenIds
from stream_app.model.artifact import Artifact, ModelCard
from stream_app.model.checks.config import positions
from stream_app.model.decision import lengths
from stream_app.model.tokenizer import Tokenizer
from training.data.augment import shortened
from training.data.corpus import Example
from training.examples.bars import barred
from training.examples.contrast import contrasted
from training.examples.embeddings import embeddings, write_classifier
from training.examples.found import Examples
from training.examples.probe import Array, Learnable, Probe, Settings, fit_probe
from training.examples.validation import Judged, best_settings, cross_validated
from training.fitting.drift_reference import write_reference
from training.fitting.familiarity import fit_familiarity
from training.fitting.model_files import copy_tokenizer, unsealed
from training.fitting.seal import ENGINE, calibrated
from training.judging import metrics
from training.judging.card import write_cards
from training.judging.evaluate import Scored, int8_agreement, labels_given, true_labels
from training.judging.figures import measure
from training.judging.thresholds import Folded, given_out_of_fold

MAX_TOKENS = 256
TEST = "cross-validation"  # the name of its figures in a card
TFIDF = "tfidf"  # and of those of TF-IDF on the same texts
UNFAMILIAR = 0.01  # share of the model's own kinds of text left `unsure`


@dataclass(frozen=True, slots=True)
class Job:
    """What to learn, from which encoder, and where to write it. `lineage` and `text_field`, the
    column of the texts, are for the card.

    A label may be acted on from a score on that at most a share `false_positives` of the texts
    without it reach; where that is None, a hundredth if that makes decisions surer."""

    found: Examples
    encoder: Artifact
    out: Path
    name: str
    lineage: Sequence[dict[str, Any]]
    progress: Callable[[str], None]
    text_field: str = ""
    false_positives: float | None = None


def fit(job: Job) -> Artifact:
    """The model in `job.out`, measured and sealed. Raises WinnowError."""
    started = time.monotonic()
    card = _card(job)
    job.progress("embedding the texts")
    learnt = _learnable(job, card)
    with tempfile.TemporaryDirectory() as scratch:
        taught = partial(_taught, job.encoder, Path(scratch))
        judged = cross_validated(learnt, job.found.groups, taught, job.progress)
        how = best_settings(judged, learnt.truth, card.problem)
        job.progress("fitting on every text")
        encoder = taught("all", learnt) if how.contrast else job.encoder
        seen = learnt.seen_by(encoder) if how.contrast else learnt
        _write(job, encoder, fit_probe(seen, how))
        short = _short(job, card, judged, how)
    scored = _scored(job.found.examples, judged.logits(how), learnt.truth, learnt.ids)
    card = calibrated(card, scored, short.scored)
    card, bars = barred(card, job.found, scored, job.false_positives)
    if card.problem == "multi_label":
        whole = Folded(scored, judged.fold_of)
        scored = replace(scored, given=given_out_of_fold(card, whole, [short]))
    evaluation = {"engine": ENGINE, TFIDF: _tfidf(judged, scored, card)} | bars
    training = _training(job, learnt, how)
    card = card.model_copy(update={"training": training, "evaluation": evaluation})
    return _sealed(job, card, scored, started)


def _card(job: Job) -> ModelCard:
    return ModelCard(
        name=job.name,
        version="1",
        labels=job.found.labels,
        problem=job.found.problem,
        max_tokens=min(MAX_TOKENS, positions(job.encoder.path)),
        description=f"Made from {len(job.found.examples)} examples.",
        data=list(job.lineage),
        text_field=job.text_field,
    )


def _learnable(job: Job, card: ModelCard) -> Learnable:
    examples = job.found.examples
    texts = [example.text for example in examples]
    ids = _tokens(job, card, texts)
    embedded, truth = embeddings(job.encoder, ids), true_labels(examples, card)
    return Learnable(texts, ids, embedded, truth, card.labels, card.problem)


def _tokens(job: Job, card: ModelCard, texts: Sequence[str]) -> Sequence[TokenIds]:
    tokenizer = card.model_copy(update={"tokenizer": job.encoder.card.tokenizer})
    return Tokenizer(unsealed(job.encoder.path, tokenizer)).encode(texts)


def _taught(encoder: Artifact, scratch: Path, name: str, learnt: Learnable) -> Artifact:
    return contrasted(encoder, learnt.ids, learnt.truth, scratch / name)


def _training(job: Job, learnt: Learnable, how: Settings) -> dict[str, Any]:
    return {
        "method": "linear classifier on embeddings, and n-gram head",
        "texts": len(learnt.texts),
        "chosen": asdict(how),
        "ngrams": learnt.ngrams.model_dump(),
        "encoder": {"sha256": job.encoder.digest, "origin": job.encoder.card.description},
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("torch", "scikit-learn", "tokenizers")},
    }


def _sealed(job: Job, card: ModelCard, scored: Scored, started: float) -> Artifact:
    """The files in `job.out` as a model: what is known of it on its card, and beside it."""
    examples = list(job.found.examples)
    if job.found.different >= 1 / UNFAMILIAR:  # of fewer the least familiar is already too many
        texts = [example.text for example in examples]
        fit_familiarity(texts, job.found.groups.tolist()).save(job.out)
        card = card.model_copy(update={"familiar_at": UNFAMILIAR})
    agreement = int8_agreement(unsealed(job.out, card), [examples])
    card = card.model_copy(update={"int8_agreement": agreement})
    write_reference(unsealed(job.out, card), examples, scored.logits)
    figures = {k: v for k, v in measure(scored, card).items() if not k.endswith("_per_second")}
    evaluation = {**card.evaluation, "test": {TEST: figures}}
    minutes = round((time.monotonic() - started) / 60, 2)
    training = {**card.training, "minutes": minutes}
    known = {"evaluation": evaluation, "training": training, "files": {}}
    return write_cards(job.out, card.model_copy(update=known))


def _tfidf(judged: Judged, scored: Scored, card: ModelCard) -> dict[str, Any]:
    """Accuracy of TF-IDF on the same texts, with its interval; of several labels macro-F1 too, each
    label given from a threshold of its own, like the model's."""
    plain = ModelCard(name=TFIDF, version="1", labels=card.labels, problem=card.problem)
    theirs = replace(scored, logits=judged.tfidf, given=None)
    several = card.problem == "multi_label"
    given = (
        given_out_of_fold(plain, Folded(theirs, judged.fold_of))
        if several
        else labels_given(theirs, plain)
    )
    right = (given == scored.truth).all(axis=1)
    interval = metrics.exact_interval(int(right.sum()), len(right))
    found = {"accuracy": metrics.rounded(right.mean()), "interval": interval}
    return found | (metrics.f1_of_several(scored.truth, given) if several else {})


def _short(job: Job, card: ModelCard, judged: Judged, how: Settings) -> Folded:
    """Texts cut short, each scored by a model that has not learnt from it."""
    cuts: list[Example] = []
    every: list[TokenIds] = []
    logits = [np.zeros((0, len(card.labels)), np.float32)]
    fold_of: list[int] = []
    for number, fold in enumerate(judged.folds):
        cut = shortened([job.found.examples[row] for row in fold.held.tolist()], 1, seed=1)
        texts = [example.text for example in cut]
        ids = _tokens(job, card, texts)
        encoder = fold.encoder if how.contrast else job.encoder
        probe = fit_probe(fold.seen[how.contrast].at(fold.rest), how)
        logits.append(probe.logits(texts, embeddings(encoder, ids)))
        cuts += cut
        every += ids
        fold_of += [number] * len(cut)
    truth = true_labels(cuts, card)
    scored = _scored(cuts, np.concatenate(logits), truth, every)
    return Folded(scored, np.array(fold_of, dtype=np.int64))


def _scored(
    examples: Sequence[Example], logits: Array, truth: NDArray[np.bool_], ids: Sequence[TokenIds]
) -> Scored:
    slices = {
        "length": metrics.length_slices([len(example.text.split()) for example in examples]),
        "language": [example.language for example in examples],
        "source": [example.source for example in examples],
    }
    return Scored(logits, truth, lengths(ids), sum(map(len, ids)), 1.0, slices)


def _write(job: Job, encoder: Artifact, probe: Probe) -> None:
    write_classifier(encoder, probe.linear.weight, probe.linear.bias, job.found.labels, job.out)
    copy_tokenizer(job.encoder.tokenizer, job.out)
    probe.head.save(job.out)
