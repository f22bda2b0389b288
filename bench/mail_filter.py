"""The filter that `bench/refresh.py` keeps fresh: ALBERT as first fitted, and a changing head."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.mail_in_order import base_model, stream
from stream_app.model.artifact import Artifact
from stream_app.model.drift_reference import load_drift
from stream_app.model.ngrams import Features, NgramHead, load_head
from training.data.corpus import Example, load_corpus
from training.fitting.drift_reference import labelled
from training.fitting.ngrams import balanced, fit_head
from training.judging.calibrate import temperature
from training.judging.evaluate import score
from training.recipe import Ngrams
from training.recipes import load_recipe

HOW = Ngrams(words=2, bits=18, strength=10)
LABELS = ("ham", "spam")
Features.buckets = cache(Features.buckets)  # the same texts are fitted over and over again


@dataclass(frozen=True, slots=True)
class Mails:
    """Texts, the indexes of their labels, and ALBERT's logits [texts, labels]."""

    texts: Sequence[str]
    truth: NDArray[np.int64]
    albert: NDArray[np.float32]

    def at(self, rows: Iterable[int]) -> Mails:
        """The mails of these rows, in their order, as often as they are named."""
        chosen = np.asarray(list(rows), dtype=np.int64)
        return Mails([self.texts[row] for row in chosen], self.truth[chosen], self.albert[chosen])

    def __add__(self, other: Mails) -> Mails:
        return Mails(
            [*self.texts, *other.texts],
            np.concatenate([self.truth, other.truth]),
            np.concatenate([self.albert, other.albert]),
        )

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, slots=True)
class Filter:
    """ALBERT with a head and a temperature."""

    head: NgramHead
    temperature: float

    def logits(self, mails: Mails) -> NDArray[np.float32]:
        """Calibrated logits [texts, labels]."""
        return (mails.albert + self.head.logits(mails.texts)) / self.temperature


@dataclass(frozen=True, slots=True)
class World:
    """All there is at the beginning, and all that is going to come."""

    first: Filter
    train: Mails
    validation: Mails
    test: Mails
    stream: Mails
    parts: Mapping[str, int]  # the row at which each part of the stream ends
    drift: Sequence[Mapping[str, float]]  # scores of each period, by statistic


def fitted(train: Mails, validation: Mails) -> Filter:
    """What a refresh of the head alone fits: head, its share beside ALBERT, temperature."""
    head = fit_head(train.texts, np.eye(len(LABELS), dtype=bool)[train.truth], HOW)
    right = np.eye(len(LABELS), dtype=bool)[validation.truth]
    head = balanced(head, validation.texts, validation.albert, right, "single_label")
    logits = validation.albert + head.logits(validation.texts)
    return Filter(head, temperature(logits, validation.truth))


def load_world(data: Path, encoder: str, out: Path, period: int) -> World:
    """Fit the first model, and score everything with its ALBERT. Both are kept in `out`."""
    artifact = base_model(data, encoder, out)
    corpus = load_corpus(load_recipe(str(out / "enron.toml")), out)
    parts = stream(data)
    flow = [example for part in parts for example in part.examples]
    ends = np.cumsum([len(part.examples) for part in parts]).tolist()
    (test,) = corpus.test.values()
    head = load_head(artifact)
    assert head is not None
    first, come = Filter(head, artifact.card.temperature), _mails(artifact, flow, out / "stream")
    return World(
        first,
        _mails(artifact, [*corpus.train, *corpus.more], out / "train"),
        _mails(artifact, corpus.validation, out / "validation"),
        _mails(artifact, test, out / "test"),
        come,
        dict(zip([part.name for part in parts], ends, strict=True)),
        _drift(artifact, flow, first.logits(come) * first.temperature, period),
    )


def _mails(artifact: Artifact, examples: Sequence[Example], file: Path) -> Mails:
    """The examples with ALBERT's own logits: the head's part is taken off again."""
    texts = [example.text for example in examples]
    truth = np.array([LABELS.index(example.label) for example in examples])
    file = file.with_suffix(".npy")
    if not file.exists():
        head = load_head(artifact)
        assert head is not None
        unlabelled = [replace(example, labels=()) for example in examples]
        np.save(file, score(artifact, unlabelled, "auto").logits - head.logits(texts))
    return Mails(texts, truth, np.load(file))


def _drift(
    artifact: Artifact, flow: Sequence[Example], logits: NDArray[np.float32], period: int
) -> list[dict[str, float]]:
    """What the drift monitor would say of each period, were the first model never refreshed."""
    drift, seen = load_drift(artifact), labelled(artifact, flow, logits)
    assert drift is not None
    return [drift.scores(seen[start : start + period]) for start in starts(len(flow), period)]


def starts(rows: int, period: int) -> range:
    """The first row of each whole period."""
    return range(0, rows - period + 1, period)
