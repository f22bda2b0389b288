"""What a model is worth on labelled texts, on the engine and precision that will serve."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from stream_app.core.errors import ModelError
from stream_app.engine import load_engine
from stream_app.engine.native_library import find_kernels
from stream_app.engine.protocol import TokenIds, scores
from stream_app.model.artifact import Artifact, ModelCard
from stream_app.model.decision import probabilities
from stream_app.model.ngrams import load_head
from stream_app.model.tokenizer import Tokenizer
from training import metrics
from training.calibrate import calibration_error
from training.data import Example

_BATCH_TOKENS = 8_192
_SMALLEST_SLICE = 20  # rows: fewer say nothing


@dataclass(frozen=True, slots=True)
class Scored:
    """Raw logits [rows, labels] of examples, their true labels [rows, labels], what it took, and by
    which properties (length, language, source) the rows may be told apart."""

    logits: NDArray[np.float32]
    truth: NDArray[np.bool_]
    tokens: int
    seconds: float
    slices: Mapping[str, Sequence[str]] = field(default_factory=dict)


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
    ids = Tokenizer(artifact).encode([example.text for example in examples])
    head = load_head(artifact)
    loaded = load_engine(engine, artifact, device, precision, early_exit=early_exit)
    loaded.warm_up()
    started = time.perf_counter()
    logits = np.zeros(truth.shape, dtype=np.float32)
    for rows in _batches(ids):
        prior = head.logits([examples[row].text for row in rows]) if head else None
        logits[rows] = scores(loaded, [ids[row] for row in rows], prior)
    seconds = time.perf_counter() - started
    loaded.close()
    slices = {
        "length": metrics.length_slices([len(example.text.split()) for example in examples]),
        "language": [example.language for example in examples],
        "source": [example.source for example in examples],
    }
    return Scored(logits, truth, sum(map(len, ids)), seconds, slices)


def true_labels(examples: Sequence[Example], card: ModelCard) -> NDArray[np.bool_]:
    """[rows, labels], true where a label is the example's. Raises ModelError for an unknown one."""
    number = {label: index for index, label in enumerate(card.labels)}
    truth = np.zeros((len(examples), len(card.labels)), dtype=bool)
    for row, example in enumerate(examples):
        for label in example.labels:
            if label not in number:
                raise ModelError(f"{card.name} has no label {label!r}; it has {card.labels}")
            truth[row, number[label]] = True
    return truth


def measure(scored: Scored, card: ModelCard) -> dict[str, Any]:
    """Figures as JSON: quality with intervals, calibration, slices and throughput.

    Where the truth uses only some of a single-label model's labels, `accuracy` counts the others as
    wrong, and `accuracy_among_present` chooses between the labels that are present.
    """
    multi = card.problem == "multi_label"
    quality = _multi_label(scored, card) if multi else _single_label(scored, card)
    return {
        "rows": len(scored.truth),
        **quality,
        "texts_per_second": round(len(scored.truth) / scored.seconds, 1),
        "tokens_per_second": round(scored.tokens / scored.seconds),
    }


def plots(scored: Scored, card: ModelCard) -> dict[str, Any]:
    """What a report draws: curves of each label, and reliability before and after calibration."""
    scores = probabilities(scored.logits, card)
    before = probabilities(scored.logits, card.model_copy(update={"temperature": 1.0}))
    found = {
        label: metrics.curves(scores[:, column], scored.truth[:, column])
        for column, label in enumerate(card.labels)
    }
    return {
        "curves": {label: points for label, points in found.items() if points},
        "reliability": metrics.reliability(*_confidence(scores, scored.truth, card)),
        "reliability_before": metrics.reliability(*_confidence(before, scored.truth, card)),
    }


def int8_agreement(artifact: Artifact, tests: Iterable[Sequence[Example]]) -> float | None:
    """The least share of a test's texts that the compiled engine labels in int8 as in float32.

    None where the kernels were not compiled.
    """
    if not find_kernels():
        return None
    shares = []
    for examples in tests:
        int8, exact = (
            score(artifact, examples, "compiled", "cpu", precision).logits.argmax(axis=1)
            for precision in ("int8", "float32")
        )
        shares.append(float((int8 == exact).mean()))
    return round(min(shares), 4) if shares else None


def _single_label(scored: Scored, card: ModelCard) -> dict[str, Any]:
    scores, truth = probabilities(scored.logits, card), scored.truth.argmax(axis=1)
    predicted = scores.argmax(axis=1)
    present = np.unique(truth)
    confusion = confusion_matrix(truth, predicted, labels=range(len(card.labels)))
    figures: dict[str, Any] = {
        "accuracy": metrics.rounded((predicted == truth).mean()),
        "macro_f1": metrics.macro_f1(confusion),
        "intervals": metrics.bootstrap(confusion),
        **_calibration(scored, card),
        "per_label": _per_label(scored.truth, np.eye(len(card.labels))[predicted], scores, card),
        "confusion": confusion.tolist(),
        "slices": _slices(scored, truth, predicted),
    }
    if len(present) < len(card.labels):
        among = present[scores[:, present].argmax(axis=1)]
        figures["accuracy_among_present"] = metrics.rounded((among == truth).mean())
    if len(card.labels) == 2 and len(present) == 2:
        figures |= metrics.ranking(scores[:, 1], truth == 1)
        figures["recall_at_fpr"] = metrics.recall_at_fpr(scores[:, 1], truth == 1)
    return figures


def _multi_label(scored: Scored, card: ModelCard) -> dict[str, Any]:
    scores = probabilities(scored.logits, card)
    thresholds = np.array([card.thresholds.get(label, 0.5) for label in card.labels])
    predicted = scores >= thresholds
    per_label = _per_label(scored.truth, predicted, scores, card)
    right = int((predicted & scored.truth).sum())
    return {
        "accuracy": metrics.rounded((predicted == scored.truth).all(axis=1).mean()),
        "micro_f1": metrics.rounded(2 * right / max(1, int(predicted.sum() + scored.truth.sum()))),
        "macro_f1": metrics.rounded(np.mean([row["f1"] for row in per_label.values()])),
        **_calibration(scored, card),
        "per_label": per_label,
    }


def _calibration(scored: Scored, card: ModelCard) -> dict[str, float]:
    """Expected calibration error with the card's temperature, and before it was applied."""
    before = card.model_copy(update={"temperature": 1.0})
    return {
        name: metrics.rounded(
            calibration_error(*_confidence(probabilities(scored.logits, how), scored.truth, card))
        )
        for name, how in (("calibration_error", card), ("calibration_error_before", before))
    }


def _confidence(
    scores: NDArray[np.float32], truth: NDArray[np.bool_], card: ModelCard
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scores, and whether they came true: of the best label, or in multi-label of every label."""
    if card.problem == "multi_label":
        return scores.ravel(), truth.ravel()
    return scores.max(axis=1), truth[np.arange(len(truth)), scores.argmax(axis=1)]


def _per_label(
    truth: NDArray[np.bool_],
    predicted: NDArray[Any],
    scores: NDArray[np.float32],
    card: ModelCard,
) -> dict[str, dict[str, float]]:
    *shares, rows = precision_recall_fscore_support(
        truth, predicted.astype(bool), average=None, zero_division=0.0
    )
    names = ("precision", "recall", "f1")
    return {
        label: {
            **{n: metrics.rounded(col[row]) for n, col in zip(names, shares, strict=True)},
            **metrics.ranking(scores[:, row], truth[:, row]),
            "rows": int(rows[row]),
        }
        for row, label in enumerate(card.labels)
    }


def _slices(
    scored: Scored, truth: NDArray[np.int64], predicted: NDArray[np.int64]
) -> dict[str, dict[str, Any]]:
    """Rows, accuracy and macro-F1 by each property that has more than one value."""
    table: dict[str, dict[str, Any]] = {}
    for name, values in scored.slices.items():
        kinds, of_row = np.unique(np.asarray(values), return_inverse=True)
        if len(kinds) < 2:
            continue
        table[name] = {}
        for number, kind in enumerate(kinds):
            at = of_row == number
            if at.sum() < _SMALLEST_SLICE:
                continue
            confusion = confusion_matrix(
                truth[at], predicted[at], labels=range(scored.truth.shape[1])
            )
            table[name][str(kind) or "unknown"] = {
                "rows": int(at.sum()),
                "accuracy": metrics.rounded((truth == predicted)[at].mean()),
                "macro_f1": metrics.macro_f1(confusion),
                "intervals": metrics.bootstrap(confusion),
            }
    return {name: kinds for name, kinds in table.items() if kinds}


def _batches(ids: Sequence[TokenIds]) -> list[list[int]]:
    """Row numbers, texts of about one length together, within the token budget padding included."""
    batches: list[list[int]] = []
    for row in sorted(range(len(ids)), key=lambda row: len(ids[row])):
        if not batches or (len(batches[-1]) + 1) * len(ids[row]) > _BATCH_TOKENS:
            batches.append([])
        batches[-1].append(row)
    return batches
