"""What takes part in `few_shot.py`: ways to a classifier of a few examples.

Each learns from the examples, labels the test, and says how many bytes its model is.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stream_app.engine.pooled import PooledAlbert
from stream_app.model.artifact import CARD, WEIGHTS, Artifact, ModelCard, sha256
from stream_app.model.references import resolve_folder
from stream_app.model.tokenizer import Tokenizer
from training.data.corpus import Example
from training.examples.build import MAX_TOKENS, Job, fit
from training.examples.embeddings import embeddings, write_classifier
from training.examples.found import Examples
from training.examples.probe import Learnable, fit_linear
from training.examples.validation import tfidf_logits
from training.fitting.build import tokenized
from training.fitting.finetune import FitRun, fine_tune
from training.fitting.model_files import copy_tokenizer, unsealed
from training.fitting.saving import save_weights
from training.judging.evaluate import score, true_labels
from training.recipe import Hyper, Recipe

STRENGTH = 0.003  # inverse of the L2 penalty
CAREFUL = Hyper(epochs=3, batch_size=16, learning_rate=1e-4, warmup_steps=5)


@dataclass(frozen=True)
class Drawn:
    """Examples to learn, and to be judged by."""

    train: Sequence[Example]
    test: Sequence[Example]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """The index of each test text's label, [texts], and the bytes of the model on disk."""

    labels: NDArray[np.int64]
    size: int | None = None


Predict = Callable[[Drawn], Answer]


def tfidf(of: Drawn) -> Answer:
    """Word 1- and 2-grams, TF-IDF, logistic regression."""
    truth = np.array([[label in ex.labels for label in of.labels] for ex in of.train])
    texts = [example.text for example in of.test]
    return Answer(tfidf_logits([ex.text for ex in of.train], truth, texts).argmax(axis=1))


def probe(encoder: str) -> Predict:
    """Logistic regression on an encoder's mean token."""

    def predict(of: Drawn) -> Answer:
        with tempfile.TemporaryDirectory() as folder:
            return _served(_probe(encoder, of, Path(folder)), of)

    return predict


def careful(encoder: str) -> Predict:
    """LP-FT: that probe, then all of it fine-tuned, with a low rate; Kumar et al., "Fine-Tuning can
    Distort Pretrained Features", 2022."""

    def predict(of: Drawn) -> Answer:
        with tempfile.TemporaryDirectory() as folder:
            start = _probe(encoder, of, Path(folder))
            return _served(_tuned(start, of), of)

    return predict


def setfit(python: str, encoder: str, steps: int) -> Predict:
    """SetFit, in the environment of another Python."""
    script = Path(__file__).with_name("few_shot_setfit.py")

    def predict(of: Drawn) -> Answer:
        given = {
            "texts": [example.text for example in of.train],
            "labels": [of.labels.index(example.label) for example in of.train],
            "test": [example.text for example in of.test],
        }
        command = [python, str(script), encoder, str(steps)]
        done = subprocess.run(
            command, input=json.dumps(given), stdout=subprocess.PIPE, text=True, check=True
        )
        told = json.loads(done.stdout)
        return Answer(np.array(told["labels"]), told["size"])

    return predict


def winnow(encoder: str) -> Predict:
    """The sealed model of `fit --examples`."""

    def predict(of: Drawn) -> Answer:
        with tempfile.TemporaryDirectory() as folder:
            found = Examples(of.train, of.labels, "single_label")
            job = Job(found, _encoder(encoder), Path(folder), "bench", [], lambda step: None)
            return _served(fit(job), of)

    return predict


def _probe(encoder: str, of: Drawn, out: Path) -> Artifact:
    model = _encoder(encoder)
    card = model.card.model_copy(update={"labels": of.labels, "max_tokens": MAX_TOKENS})
    texts = [example.text for example in of.train]
    ids = Tokenizer(Artifact(model.path, card, "")).encode(texts)
    learnt = Learnable(
        texts, ids, embeddings(model, ids), true_labels(of.train, card), of.labels, "single_label"
    )
    fitted = fit_linear(learnt, STRENGTH)
    write_classifier(model, fitted.weight, fitted.bias, of.labels, out)
    copy_tokenizer(model.tokenizer, out)
    return unsealed(out, card)


def _tuned(start: Artifact, of: Drawn) -> Artifact:
    """The same model, further fitted."""
    card = start.card
    recipe = Recipe(
        name="bench",
        version="1",
        description="",
        labels=of.labels,
        max_tokens=card.max_tokens,
        hyper=CAREFUL,
        sources=(),
    )
    with tempfile.TemporaryDirectory() as scratch:
        run = FitRun(scratch=Path(scratch))
        data = tokenized(start, of.train)
        model = fine_tune(recipe, start.path, data, None, run, _with_its_pooler)
    save_weights(model, start.path, "float16")
    return start


def _with_its_pooler(*given: object, **named: object) -> PooledAlbert:
    """The classifier in a folder; its pooler, which passes its input on, stays as it is."""
    model: PooledAlbert = PooledAlbert.from_pretrained(*given, **named)
    torch.nn.Module.requires_grad_(model.albert.pooler, False)
    return model


def _served(model: Artifact, of: Drawn) -> Answer:
    """As `winnow worker` would label the test."""
    size = sum(file.stat().st_size for file in model.path.iterdir() if file.name != CARD)
    return Answer(score(model, of.test, "auto").logits.argmax(axis=1), size)


def _encoder(reference: str) -> Artifact:
    folder = resolve_folder(reference)
    card = ModelCard(name="encoder", version="1", labels=("-", "--"))
    return Artifact(folder, card, sha256(folder / WEIGHTS))
