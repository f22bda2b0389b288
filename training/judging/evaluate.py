"""Labelled texts scored by a model, on the engine and precision that will serve."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from stream_app.core.errors import ModelError
from stream_app.engine import load_engine
from stream_app.engine.native_library import find_kernels
from stream_app.engine.protocol import TokenIds, scores
from stream_app.model.artifact import Artifact, ModelCard
from stream_app.model.decision import Lengths, given, lengths, probabilities
from stream_app.model.familiarity import load_familiarity
from stream_app.model.ngrams import load_head
from stream_app.model.tokenizer import Tokenizer
from training.data.corpus import Example
from training.judging import metrics

_BATCH_TOKENS = 8_192
SHORT = 16  # tokens
_COMPARED = 1_000  # texts of a test, at most: float32 takes twice as long, for each of them


@dataclass(frozen=True, slots=True)
class Scored:
    """Raw logits [rows, labels] of examples, their true labels [rows, labels], their lengths [rows]
    in tokens that the model reads, what it took, by which properties (length, language, source) the
    rows may be sliced, and their familiarities [rows], None where the model measures none.

    `given` [rows, labels] is what they are given where that is not for one card to say: out of
    fold, by the thresholds of other texts. `known` [rows, labels] is of which labels the truth is
    known, all where it is None; the others are no figure's business."""

    logits: NDArray[np.float32]
    truth: NDArray[np.bool_]
    lengths: Lengths
    tokens: int
    seconds: float
    slices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    familiarities: NDArray[np.float64] | None = None
    given: NDArray[np.bool_] | None = None
    known: NDArray[np.bool_] | None = None

    def of_label(self, column: int) -> NDArray[np.bool_]:
        """[rows]: whether it is known if the label is true."""
        whole = np.ones(len(self.truth), dtype=np.bool_)
        return whole if self.known is None else self.known[:, column]


def score(
    artifact: Artifact,
    examples: Sequence[Example],
    engine: str,
    device: str = "auto",
    precision: str = "auto",
    early_exit: bool = False,
) -> Scored:
    """Run the model over the examples.

    Raises ModelError for a label the model does not have, EngineError for scores not finite.
    """
    truth = true_labels(examples, artifact.card)
    texts = [example.text for example in examples]
    ids = Tokenizer(artifact).encode(texts)
    head, familiarity = load_head(artifact), load_familiarity(artifact)
    loaded = load_engine(engine, artifact, device, precision, early_exit=early_exit)
    loaded.warm_up()
    started = time.perf_counter()
    logits = np.zeros(truth.shape, dtype=np.float32)
    for rows in _batches(ids):
        prior = head.logits([texts[row] for row in rows]) if head else None
        logits[rows] = scores(loaded, [ids[row] for row in rows], prior)
    seconds = time.perf_counter() - started
    loaded.close()
    familiar = np.array(familiarity.scores(texts, ids)) if familiarity else None
    slices = {
        "length": metrics.length_slices([len(text.split()) for text in texts]),
        "language": [example.language for example in examples],
        "source": [example.source for example in examples],
    }
    return Scored(
        logits,
        truth,
        lengths(ids),
        sum(map(len, ids)),
        seconds,
        slices,
        familiar,
        known=known_labels(examples, artifact.card.labels),
    )


def labels_given(scored: Scored, card: ModelCard) -> NDArray[np.bool_]:
    """[rows, labels]: what the texts are given, by the card where `scored` does not say it; nothing
    where the truth is not known."""
    found = scored.given
    if found is None:
        found = given(probabilities(scored.logits, card, scored.lengths), card)
    return found if scored.known is None else found & scored.known


def rows_of(scored: Scored, rows: NDArray[np.bool_]) -> Scored:
    """Some of the texts, `rows` [rows], without familiarities."""
    return replace(
        scored,
        logits=scored.logits[rows],
        truth=scored.truth[rows],
        lengths=scored.lengths[rows],
        slices={name: np.asarray(of)[rows].tolist() for name, of in scored.slices.items()},
        familiarities=None,
        given=None if scored.given is None else scored.given[rows],
        known=None if scored.known is None else scored.known[rows],
    )


def sources(scored: Scored) -> list[NDArray[np.bool_]]:
    """[rows] for each source: which texts are of it."""
    source = np.asarray(scored.slices["source"], dtype=np.str_)
    return [source == name for name in np.unique(source)]


def short_texts(scored: Scored) -> Scored:
    """Those of up to 16 tokens."""
    return rows_of(scored, scored.lengths <= SHORT)


def true_labels(examples: Sequence[Example], card: ModelCard) -> NDArray[np.bool_]:
    """[rows, labels], true if a label is the example's. Raises ModelError for an unknown one."""
    number = {label: index for index, label in enumerate(card.labels)}
    truth = np.zeros((len(examples), len(card.labels)), dtype=bool)
    for row, example in enumerate(examples):
        for label in example.labels:
            if label not in number:
                raise ModelError(f"{card.name} has no label {label!r}; it has {card.labels}")
            truth[row, number[label]] = True
    return truth


def known_labels(examples: Sequence[Example], labels: Sequence[str]) -> NDArray[np.bool_] | None:
    """[rows, labels]: of which labels the truth is known, None for all of all texts: of one that a
    model labelled itself those that it was sure of."""
    known = np.ones((len(examples), len(labels)), dtype=bool)
    for row, example in enumerate(examples):
        if example.belief:
            known[row] = ~np.isnan(example.belief)
    return None if known.all() else known


def int8_agreement(artifact: Artifact, tests: Iterable[Sequence[Example]]) -> float | None:
    """The least share of a test's texts that the compiled engine gives the same labels in int8 as
    in float32.

    Of a long test about a thousand are compared, spread over it. None where the kernels were not
    compiled.
    """
    if not find_kernels():
        return None
    shares = []
    for examples in tests:
        some = examples[:: -(-len(examples) // _COMPARED)]
        int8, exact = (
            labels_given(score(artifact, some, "compiled", "cpu", precision), artifact.card)
            for precision in ("int8", "float32")
        )
        shares.append(float((int8 == exact).all(axis=1).mean()))
    return round(min(shares), 4) if shares else None


def _batches(ids: Sequence[TokenIds]) -> list[list[int]]:
    """Row numbers, texts of about one length together, within the token budget padding included."""
    batches: list[list[int]] = []
    for row in sorted(range(len(ids)), key=lambda row: len(ids[row])):
        if not batches or (len(batches[-1]) + 1) * len(ids[row]) > _BATCH_TOKENS:
            batches.append([])
        batches[-1].append(row)
    return batches
