"""The champion and the challenger on the same texts, as evidence for the gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_app.model.artifact import NGRAMS, WEIGHTS, Artifact, ModelCard
from stream_app.model.decision import probabilities
from training.data.corpus import Example
from training.judging.decisions import acted_on
from training.judging.evaluate import Scored, known_labels, labels_given, score
from training.refreshing.gates import Candidate
from training.refreshing.opinions import Compared, Opinion

_SPEED_TEXTS = 256
# in turn; each model's fastest counts, since whatever disturbs makes it slower
_LEAST_RUNS, _MOST_RUNS = 2, 10
_AS_FAST = 0.9  # of the champion's: enough, no more runs are needed
_SHORTEST = 0.1  # seconds of a run: a shorter one measures the machine, not the model


def compare(
    champion: Artifact, challenger: Artifact, tests: Mapping[str, Sequence[Example]], engine: str
) -> dict[str, Compared]:
    """Both models' opinions of each test. Their labels may differ."""
    labels = list(dict.fromkeys([*champion.card.labels, *challenger.card.labels]))
    return {
        name: _compared(champion, challenger, examples, labels, engine)
        for name, examples in tests.items()
    }


def joined(pairs: Mapping[str, Compared]) -> Compared:
    """Several tests as one, distinguished by the slice `test`."""
    several = list(pairs.values())
    slices: dict[str, list[str]] = {"test": []}
    for name, pair in pairs.items():
        slices["test"] += [name] * pair.rows
        for kind, values in pair.slices.items():
            slices.setdefault(kind, []).extend(values)
    return replace(
        several[0],
        truth=np.concatenate([pair.truth for pair in several]),
        known=np.concatenate([pair.known for pair in several]),
        champion=_joined([pair.champion for pair in several]),
        challenger=_joined([pair.challenger for pair in several]),
        slices=slices,
    )


def candidates(
    champion: Artifact, challenger: Artifact, examples: Sequence[Example], engine: str
) -> tuple[Candidate, Candidate]:
    """Labels, size and speed of both, measured alternately; of one encoder and heads of one size
    the speed is the same."""
    some = _unlabelled(examples[:_SPEED_TEXTS])
    fastest = [0.0, 0.0]
    alike = _parts(champion) == _parts(challenger)
    for run in range(0 if alike else _MOST_RUNS):
        if run >= _LEAST_RUNS and fastest[1] >= _AS_FAST * fastest[0]:
            break
        for number, artifact in enumerate((champion, challenger)):
            rate = len(some) / score(artifact, some, engine).seconds if some else 0.0
            fastest[number] = max(fastest[number], rate)
    if len(some) < _SHORTEST * fastest[0]:
        fastest[1] = fastest[0]
    old, new = (
        Candidate(artifact.card.labels, _size(artifact), rate, _barred(artifact))
        for artifact, rate in zip((champion, challenger), fastest, strict=True)
    )
    return old, new


def _compared(
    champion: Artifact,
    challenger: Artifact,
    examples: Sequence[Example],
    labels: Sequence[str],
    engine: str,
) -> Compared:
    old, new = (score(each, _unlabelled(examples), engine) for each in (champion, challenger))
    shape = len(examples), len(labels)
    truth = [[label in example.labels for label in labels] for example in examples]
    return Compared(
        labels=labels,
        problem=champion.card.problem,
        truth=np.array(truth, np.bool_).reshape(shape),
        known=_known(examples, champion.card, labels),
        champion=_opinion(champion, old, labels),
        challenger=_opinion(challenger, new, labels),
        slices=new.slices,
    )


def _known(
    examples: Sequence[Example], champion: ModelCard, labels: Sequence[str]
) -> NDArray[np.bool_]:
    """What the champion says of a text, it says of its own labels alone."""
    own = known_labels(examples, champion.labels)
    if own is None:
        return np.ones((len(examples), len(labels)), np.bool_)
    others = np.array([not example.belief for example in examples])
    return _among(labels, champion, own, others[:, None])


def _opinion(artifact: Artifact, scored: Scored, labels: Sequence[str]) -> Opinion:
    card = artifact.card
    scores = probabilities(scored.logits, card, scored.lengths)
    unheard = np.float32(0 if card.problem == "single_label" else 0.5)  # of it nothing is sure
    return Opinion(
        _among(labels, card, scores, unheard),
        *(
            _among(labels, card, found, np.False_)
            for found in (labels_given(scored, card), acted_on(scored, card))
        ),
    )


def _among(
    labels: Sequence[str], card: ModelCard, own: NDArray[Any], otherwise: Any
) -> NDArray[Any]:
    """[rows, labels] of [rows, labels of the card], `otherwise` in the columns of other labels."""
    found = np.empty((len(own), len(labels)), own.dtype)
    found[:] = otherwise
    found[:, [labels.index(label) for label in card.labels]] = own
    return found


def _joined(opinions: Sequence[Opinion]) -> Opinion:
    return Opinion(
        np.concatenate([opinion.scores for opinion in opinions]),
        np.concatenate([opinion.given for opinion in opinions]),
        np.concatenate([opinion.decided for opinion in opinions]),
    )


def _unlabelled(examples: Sequence[Example]) -> list[Example]:
    """A model need not know the labels of the texts that it is asked about."""
    return [replace(example, labels=(), belief=()) for example in examples]


def _parts(artifact: Artifact) -> tuple[str | None, int]:
    """The encoder's digest, and the bytes of the n-gram head."""
    head = artifact.path / NGRAMS
    return artifact.card.files.get(WEIGHTS), head.stat().st_size if head.exists() else 0


def _barred(artifact: Artifact) -> frozenset[str]:
    return frozenset(label for label, bar in artifact.card.decide_at.items() if bar)


def _size(artifact: Artifact) -> int:
    return sum(file.stat().st_size for file in artifact.path.glob("*.safetensors"))
