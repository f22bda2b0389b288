"""`winnow-train fit --examples` beside what else makes a classifier of a few examples.

    python -m bench.few_shot --data DATA --encoder minilm=FOLDER --tasks newsgroups-25 films-25
    python -m bench.few_shot --data DATA --lp-ft --setfit PYTHON=FOLDER --most 600 --draws 1

Of each task so many texts a label are drawn, by up to three seeds; all models learn from the same
and are judged by the same texts that none has seen. Winnow is measured as it serves: the sealed
model, on the engine of `winnow worker`. Fine-tuning and SetFit are slow, and learn from the first
draw alone. Time is processor seconds of a draw, everything included; size is the model's on disk.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.few_shot_peers import Drawn, Predict, careful, probe, setfit, tfidf, winnow
from stream_app.model.preparation import Preparation, prepare
from stream_app.model.references import ENCODER
from training.data.corpus import Example
from training.examples.found import SOURCE
from training.judging.metrics import exact_interval

GROUPS = 12  # of 20: the first by name
SURE = 1.96  # standard errors on either side
OURS = "fit --examples"
TECHNICAL = (
    "comp.graphics",
    "comp.os.ms-windows.misc",
    "comp.sys.ibm.pc.hardware",
    "comp.sys.mac.hardware",
    "comp.windows.x",
    "sci.electronics",
)


def is_question(text: str) -> bool:
    """Whether it is as long as a support ticket, and asks something."""
    return 8 <= len(text.split()) <= 100 and "?" in text


@dataclass(frozen=True)
class Corpus:
    """Files of training and test texts below the data folder, the labels to learn (of none all, of
    a number the first by name), and which of the texts."""

    train: str
    test: str
    labels: int | tuple[str, ...] = ()
    texts: Callable[[str], bool] = bool


_NEWS, _TWEETS, _CHINESE = "news/newsgroups20", "multilingual/tweets3", "multilingual/hotel_zh"
CORPORA = {
    "newsgroups": Corpus(f"{_NEWS}_train", f"{_NEWS}_test", GROUPS),
    "tickets": Corpus(f"{_NEWS}_train", f"{_NEWS}_test", TECHNICAL, is_question),
    "tweets": Corpus("reviews/tweets3_train", "reviews/tweets3_test"),
    "films": Corpus("reviews/imdb_train", "reviews/imdb_test"),
    "news": Corpus("news/agnews_train", "news/agnews_test"),
    "hotels-zh": Corpus(f"{_CHINESE}_train", f"{_CHINESE}_test"),
    "tweets-de": Corpus(f"{_TWEETS}_german_train", f"{_TWEETS}_german_test"),
    "tweets-es": Corpus(f"{_TWEETS}_spanish_train", f"{_TWEETS}_spanish_test"),
}
TASKS = [f"{name}-{shots}" for name in CORPORA for shots in (8, 25, 64)]


@dataclass(frozen=True)
class Peer:
    """A way to a classifier, and the draws that it learns from."""

    name: str
    predict: Predict
    draws: int


def drawn(task: str, data: Path, seed: int, most: int) -> Drawn:
    """The examples of one seed; the test, of `most` texts, is the same for all."""
    name, _, shots = task.rpartition("-")
    corpus = CORPORA[name]
    every, tested = (_read(data, file, corpus.texts) for file in (corpus.train, corpus.test))
    labels = corpus.labels
    if not isinstance(labels, tuple) or not labels:
        labels = tuple(sorted({example.label for example in every})[: labels or None])
    chance = random.Random(seed)
    train = [
        example
        for label in labels
        for example in chance.sample([ex for ex in every if ex.label == label], int(shots))
    ]
    test = [example for example in tested if example.label in labels]
    return Drawn(train, random.Random(0).sample(test, min(most, len(test))), labels)


def _read(data: Path, name: str, wanted: Callable[[str], bool]) -> list[Example]:
    with gzip.open(data / f"{name}.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    found = (
        Example(prepare("", row["text"], Preparation()), (row["label"],), source=SOURCE)
        for row in rows
    )
    return [example for example in found if wanted(example.text)]


def rows(task: str, parts: Sequence[Drawn], peers: Sequence[Peer]) -> Iterator[str]:
    """A line of the table for each peer; the first one is what the others are compared with."""
    first: list[NDArray[np.bool_]] = []
    for peer in peers:
        started, right, size = _seconds(), [], None
        for part in parts[: peer.draws]:
            answer = peer.predict(part)
            truth = np.array([part.labels.index(example.label) for example in part.test])
            right.append(answer.labels == truth)
            size = answer.size
        seconds = (_seconds() - started) / len(right)
        first = first or right
        cells = (
            task,
            peer.name,
            _accuracy(right),
            "" if first is right else _difference(right, first),
            ", ".join(f"{float(one.mean()):.3f}" for one in right),
            f"{seconds:.0f}",
            f"{size / 1e6:.0f}" if size else "",
        )
        yield f"| {' | '.join(cells)} |"


def _accuracy(right: Sequence[NDArray[np.bool_]]) -> str:
    mean, texts = float(np.mean(right)), len(right[0])
    low, high = exact_interval(round(mean * texts), texts)
    return f"{mean:.3f} ({low:.3f} to {high:.3f})"


def _difference(right: Sequence[NDArray[np.bool_]], ours: Sequence[NDArray[np.bool_]]) -> str:
    """In accuracy, text by text, on the draws that both have; bold where it is no chance."""
    both = min(len(right), len(ours))
    each = np.mean(right[:both], axis=0) - np.mean(ours[:both], axis=0)
    half = SURE * float(each.std(ddof=1)) / len(each) ** 0.5
    low, high = float(each.mean()) - half, float(each.mean()) + half
    told = f"{float(each.mean()):+.3f} ({low:+.3f} to {high:+.3f})"
    return f"**{told}**" if low > 0 or high < 0 else told


def _seconds() -> float:
    """Of the processor, by this process and those that it waited for."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _peers(given: argparse.Namespace) -> Iterator[Peer]:
    yield Peer(OURS, winnow(ENCODER), given.draws)
    yield Peer("TF-IDF", tfidf, given.draws)
    yield Peer("encoder, regression", probe(ENCODER), given.draws)
    for name, _, folder in (each.partition("=") for each in given.encoder):
        yield Peer(f"{name}, regression", probe(folder), given.draws)
    if given.lp_ft:
        yield Peer("LP-FT", careful(ENCODER), 1)
    if given.setfit:
        python, _, folder = given.setfit.partition("=")
        yield Peer(f"SetFit, up to {given.steps} steps", setfit(python, folder, given.steps), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoder", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--lp-ft", action="store_true")
    parser.add_argument("--setfit", metavar="PYTHON=FOLDER", help="of an environment with SetFit")
    parser.add_argument("--steps", type=int, default=100, help="of SetFit at most, 16 pairs each")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--most", type=int, default=1_500, help="test texts")
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    given = parser.parse_args()
    print("| task | model | accuracy (95 %) | less ours | by draw | seconds | MB |")
    print("|---|---|---|---|---|---|---|")
    for task in given.tasks:
        parts = [drawn(task, given.data, seed + 1, given.most) for seed in range(given.draws)]
        for row in rows(task, parts, list(_peers(given))):
            print(row, flush=True)


if __name__ == "__main__":
    main()
