"""`winnow-train fit --examples` beside what else makes a classifier of a few examples.

    python -m bench.few_shot --data DATA --encoder minilm=FOLDER --tasks newsgroups-25 reviews-25

Of each task so many texts a label are drawn, by three seeds; all models learn from the same and are
judged by the same texts that none has seen. Winnow is measured as it serves: the sealed model, on
the engine of `winnow worker`. Time is of the process' own processor seconds, everything included.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stream_app.model.artifact import WEIGHTS, Artifact, ModelCard, sha256
from stream_app.model.preparation import Preparation, prepare
from stream_app.model.references import ENCODER, resolve_folder
from stream_app.model.tokenizer import Tokenizer
from training.data.corpus import Example
from training.examples.build import MAX_TOKENS, Job, fit
from training.examples.embeddings import embeddings
from training.examples.found import Examples
from training.examples.probe import Learnable, fit_linear
from training.examples.validation import tfidf_logits
from training.judging.evaluate import score, true_labels
from training.judging.metrics import exact_interval

SEEDS = (1, 2, 3)
MOST_TESTED = 1_500
GROUPS = 12  # of 20: the first by name
STRENGTH = 0.003


@dataclass(frozen=True)
class Task:
    """Files of training and test texts below the data folder, and how many of a label to learn."""

    train: str
    test: str
    shots: int
    labels: int = 1_000  # the first so many by name


def _tasks() -> dict[str, Task]:
    news, tweets, chinese = "news/newsgroups20", "reviews/tweets3", "multilingual/hotel_zh"
    kinds = {
        "newsgroups": (f"{news}_train", f"{news}_test", GROUPS),
        "tweets": (f"{tweets}_train", f"{tweets}_test", 3),
        "films": ("reviews/imdb_train", "reviews/imdb_test", 2),
        "news": ("news/agnews_train", "news/agnews_test", 4),
        "hotels-zh": (f"{chinese}_train", f"{chinese}_test", 2),
        "tweets-de": ("multilingual/tweets3_german_train", "multilingual/tweets3_german_test", 3),
        "tweets-es": ("multilingual/tweets3_spanish_train", "multilingual/tweets3_spanish_test", 3),
    }
    return {
        f"{name}-{shots}": Task(train, test, shots, labels)
        for name, (train, test, labels) in kinds.items()
        for shots in (8, 25, 64)
    }


TASKS = _tasks()


@dataclass(frozen=True)
class Drawn:
    """Examples to learn, and to be judged by."""

    train: Sequence[Example]
    test: Sequence[Example]
    labels: tuple[str, ...]


def drawn(task: Task, data: Path, seed: int) -> Drawn:
    """The examples of one seed; the test is the same for all."""
    every, tested = (_read(data / f"{name}.jsonl.gz") for name in (task.train, task.test))
    labels = tuple(sorted({example.label for example in every})[: task.labels])
    chance = random.Random(seed)
    train = [
        example
        for label in labels
        for example in chance.sample([ex for ex in every if ex.label == label], task.shots)
    ]
    test = [example for example in tested if example.label in labels]
    return Drawn(train, random.Random(0).sample(test, min(MOST_TESTED, len(test))), labels)


def _read(file: Path) -> list[Example]:
    with gzip.open(file, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    found = (Example(prepare("", row["text"], Preparation()), (row["label"],)) for row in rows)
    return [example for example in found if example.text]


Predict = Callable[[Drawn], np.ndarray]  # -> label indexes of the test


def winnow(encoder: str) -> Predict:
    """The sealed model of `fit --examples`."""

    def predict(of: Drawn) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            found = Examples(of.train, of.labels, "single_label")
            job = Job(found, _encoder(encoder), Path(folder), "bench", [], lambda step: None)
            return score(fit(job), of.test, "auto").logits.argmax(axis=1)

    return predict


def probe(encoder: str) -> Predict:
    """Logistic regression on an encoder's mean token."""

    def predict(of: Drawn) -> np.ndarray:
        model = _encoder(encoder)
        card = model.card.model_copy(update={"max_tokens": MAX_TOKENS})
        reads = Tokenizer(Artifact(model.path, card, ""))
        known, asked = (
            embeddings(model, reads.encode([example.text for example in part]))
            for part in (of.train, of.test)
        )
        truth = true_labels(of.train, card.model_copy(update={"labels": of.labels}))
        learnt = Learnable([ex.text for ex in of.train], known, truth, of.labels, "single_label")
        return fit_linear(learnt, STRENGTH).logits(asked).argmax(axis=1)

    return predict


def tfidf(of: Drawn) -> np.ndarray:
    """Word 1- and 2-grams, TF-IDF, logistic regression."""
    truth = np.array([[label in ex.labels for label in of.labels] for ex in of.train])
    texts = [example.text for example in of.test]
    return tfidf_logits([ex.text for ex in of.train], truth, texts).argmax(axis=1)


def _encoder(reference: str) -> Artifact:
    folder = resolve_folder(reference)
    card = ModelCard(name="encoder", version="1", labels=("-", "--"))
    return Artifact(folder, card, sha256(folder / WEIGHTS))


def rows(names: Sequence[str], data: Path, peers: dict[str, Predict]) -> Iterator[str]:
    """A line of the table for each task and peer."""
    for name in names:
        parts = [drawn(TASKS[name], data, seed) for seed in SEEDS]
        for peer, predict in peers.items():
            started, right = time.process_time(), []
            for part in parts:
                truth = np.array([part.labels.index(example.label) for example in part.test])
                right.append(predict(part) == truth)
            seconds = (time.process_time() - started) / len(parts)
            mean = float(np.mean(right))
            low, high = exact_interval(round(mean * len(right[0])), len(right[0]))
            each = ", ".join(f"{float(one.mean()):.3f}" for one in right)
            interval = f"{mean:.3f} ({low:.3f} to {high:.3f})"
            yield f"| {name} | {peer} | {interval} | {each} | {seconds:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoder", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    given = parser.parse_args()
    peers: dict[str, Predict] = {"TF-IDF": tfidf}
    for name, _, folder in (each.partition("=") for each in given.encoder):
        peers[f"{name}, regression"] = probe(folder)
    peers["builtin:encoder, regression"] = probe(ENCODER)
    peers["fit --examples"] = winnow(ENCODER)
    print("| task | model | accuracy, mean (95 %) | by seed | processor seconds |")
    print("|---|---|---|---|---|")
    for row in rows(given.tasks, given.data, peers):
        print(row, flush=True)


if __name__ == "__main__":
    main()
