"""What the refresh loop is worth: a filter on real mail that changes, with refreshes and without.

`python bench/refresh.py --encoder FOLDER --data FOLDER --out FOLDER`. The stream is that of
`mail_in_order.py`. After every 500 messages a simulated reader has given the right label of 1 % of
them, and the filter is refreshed by what a daily refresh runs (`winnow-train refresh --head-only`):
the n-gram head is fitted anew to a fixed budget of old texts and all corrections, then its share
beside ALBERT, then the temperature. ALBERT's own weights stay those fitted to Enron's oldest mail.
Every message is scored before its label is known to anybody.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.mail_in_order import base_model, stream
from stream_app.model.artifact import Artifact
from stream_app.model.ngrams import NgramHead, load_head
from training.calibrate import temperature
from training.data import Example, load_corpus
from training.evaluate import score
from training.ngrams import balanced, fit_head
from training.recipe import Ngrams, load_recipe

PERIOD = 500  # messages between two refreshes
CORRECTED = 5  # of them: 1 %
BUDGET = 4_000  # texts of a refresh
REPEATED = 10  # times that a correction counts among them
HELD_BACK = 4  # every fourth correction is kept from the head: its share is fitted on those
HOW = Ngrams(words=2, bits=18, strength=10)
SPAM = 1


@dataclass(slots=True)
class Mails:
    """Texts, which of them are spam, and ALBERT's logits [texts, labels]."""

    texts: list[str]
    truth: NDArray[np.int64]
    albert: NDArray[np.float32]

    def __getitem__(self, rows: Sequence[int] | slice) -> Mails:
        index = range(len(self.texts))[rows] if isinstance(rows, slice) else rows
        chosen = np.asarray(list(index), dtype=np.int64)
        return Mails([self.texts[i] for i in chosen], self.truth[chosen], self.albert[chosen])

    def __add__(self, other: Mails) -> Mails:
        return Mails(
            self.texts + other.texts,
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


@dataclass(slots=True)
class World:
    """All that a simulation knows beforehand."""

    first: Filter
    train: Mails
    validation: Mails
    test: Mails
    stream: Mails
    parts: Mapping[str, int]  # where each part of the stream ends


@dataclass(slots=True)
class Course:
    """How one filter fared, period by period."""

    accuracy: list[float] = field(default_factory=list)
    recall: list[float] = field(default_factory=list)
    false_positives: list[float] = field(default_factory=list)
    wrong: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def add(self, truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> None:
        """Count a period."""
        spam = truth == SPAM
        self.accuracy.append(float((truth == predicted).mean()))
        self.recall.append(float((predicted[spam] == SPAM).mean()))
        self.false_positives.append(float((predicted[~spam] == SPAM).mean()))
        self.wrong = np.concatenate([self.wrong, truth != predicted])


Reader = Callable[[Mails, NDArray[np.float32], random.Random], list[int]]


def at_random(mails: Mails, logits: NDArray[np.float32], chance: random.Random) -> list[int]:
    """A random sample: `review_share`."""
    return chance.sample(range(len(mails)), CORRECTED)


def unsure_first(mails: Mails, logits: NDArray[np.float32], chance: random.Random) -> list[int]:
    """Those the filter is least sure of: `review_unsure`."""
    margin = np.abs(logits[:, SPAM] - logits[:, 1 - SPAM])
    return list(map(int, np.argsort(margin, kind="stable")[:CORRECTED]))


def mistakes(mails: Mails, logits: NDArray[np.float32], chance: random.Random) -> list[int]:
    """What people move out of the wrong folder."""
    wrong = np.flatnonzero(logits.argmax(axis=1) != mails.truth)
    return [int(row) for row in chance.sample(list(wrong), min(CORRECTED, len(wrong)))]


def load_world(data: Path, encoder: str, out: Path) -> World:
    """Fit the first model, score everything with its ALBERT. Scores are kept in `out`."""
    artifact = base_model(data, encoder, out)
    corpus = load_corpus(load_recipe(str(out / "enron.toml")), out)
    parts = stream(data)
    flow = [example for part in parts for example in part.examples]
    ends = np.cumsum([len(part.examples) for part in parts]).tolist()
    (test,) = corpus.test.values()
    head = load_head(artifact)
    assert head is not None
    return World(
        Filter(head, artifact.card.temperature),
        scored(artifact, [*corpus.train, *corpus.more], out / "train.npy"),
        scored(artifact, corpus.validation, out / "validation.npy"),
        scored(artifact, test, out / "test.npy"),
        scored(artifact, flow, out / "stream.npy"),
        dict(zip([part.name for part in parts], ends, strict=True)),
    )


def scored(artifact: Artifact, examples: Sequence[Example], file: Path) -> Mails:
    """The examples with ALBERT's own logits: the head's part is taken off again."""
    texts = [example.text for example in examples]
    truth = np.array([artifact.card.labels.index(example.label) for example in examples])
    if not file.exists():
        head = load_head(artifact)
        assert head is not None
        np.save(file, score(artifact, examples, "auto").logits - head.logits(texts))
    return Mails(texts, truth, np.load(file))


def refreshed(world: World, corrections: Mails, chance: random.Random) -> Filter:
    """The filter after a refresh."""
    kept = [row for row in range(len(corrections)) if row % HELD_BACK]
    held = [row for row in range(len(corrections)) if not row % HELD_BACK]
    new = corrections[kept * REPEATED]
    old = chance.sample(range(len(world.train)), max(0, BUDGET - len(new)))
    return fitted(world.train[old] + new, world.validation + corrections[held * REPEATED])


def fitted(train: Mails, validation: Mails) -> Filter:
    """Head, share and temperature."""
    head = fit_head(train.texts, train.truth, 2, HOW)
    head = balanced(head, validation.texts, validation.albert, validation.truth)
    logits = validation.albert + head.logits(validation.texts)
    return Filter(head, temperature(logits, validation.truth))


def course(world: World, refresh: Callable[[Filter, int, Mails], Filter]) -> Course:
    """Run the stream; `refresh` gets the filter, the end of a period and the period's mails."""
    found, current = Course(), world.first
    for start in range(0, len(world.stream) - PERIOD + 1, PERIOD):
        mails = world.stream[start : start + PERIOD]
        found.add(mails.truth, current.logits(mails).argmax(axis=1))
        current = refresh(current, start + PERIOD, mails)
    return found


def with_reader(world: World, reader: Reader) -> Course:
    """Refreshed on what one reader corrects."""
    chance = random.Random(1)
    told = world.stream[:0]

    def refresh(current: Filter, end: int, mails: Mails) -> Filter:
        nonlocal told
        told = told + mails[reader(mails, current.logits(mails), chance)]
        return refreshed(world, told, chance)

    return course(world, refresh)


def oracle(world: World) -> Course:
    """Refreshed on every message so far, each with its right label."""

    def refresh(current: Filter, end: int, mails: Mails) -> Filter:
        seen = world.stream[:end]
        held = [row for row in range(end) if row % 10 == 0]
        kept = [row for row in range(end) if row % 10]
        return fitted(world.train + seen[kept], world.validation + seen[held])

    return course(world, refresh)


def main() -> None:
    """Run everything, print the table, draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="../shared/models/albert-small-en")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    world = load_world(options.data, options.encoder, options.out)
    courses = {
        "without refresh": course(world, lambda current, end, mails: current),
        "1 % at random": with_reader(world, at_random),
        "1 %, unsure first": with_reader(world, unsure_first),
        "1 %, mistakes": with_reader(world, mistakes),
        "oracle": oracle(world),
    }


if __name__ == "__main__":
    main()
