"""What a model is worth on labelled texts, on the engine and precision that will serve."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    roc_auc_score,
)

from stream_app.core.errors import ModelError
from stream_app.engine import load_engine
from stream_app.engine.native_library import find_kernels
from stream_app.engine.protocol import TokenIds
from stream_app.model.artifact import Artifact, ModelCard
from stream_app.model.decision import probabilities
from stream_app.model.ngrams import load_head
from stream_app.model.tokenizer import Tokenizer
from training.calibrate import calibration_error
from training.data import Example

_BATCH_TOKENS = 8_192


@dataclass(frozen=True, slots=True)
class Scored:
    """Raw logits [rows, labels] and true label indexes [rows] of examples, and what it took."""

    logits: NDArray[np.float32]
    truth: NDArray[np.int64]
    tokens: int
    seconds: float


def score(
    artifact: Artifact,
    examples: Sequence[Example],
    engine: str,
    device: str = "auto",
    precision: str = "auto",
) -> Scored:
    """Run the model over the examples. Raises ModelError for a label the model does not have."""
    labels = artifact.card.labels
    unknown = sorted({example.label for example in examples} - set(labels))
    if unknown:
        raise ModelError(f"{artifact.card.name} has no label {unknown[0]!r}; it has {labels}")
    ids = Tokenizer(artifact).encode([example.text for example in examples])
    head = load_head(artifact)
    loaded = load_engine(engine, artifact, device, precision)
    loaded.warm_up()
    started = time.perf_counter()
    logits = np.zeros((len(ids), len(labels)), dtype=np.float32)
    for rows in _batches(ids):
        prior = head.logits([examples[row].text for row in rows]) if head else None
        logits[rows] = loaded.logits([ids[row] for row in rows], prior)
    seconds = time.perf_counter() - started
    loaded.close()
    truth = np.array([labels.index(example.label) for example in examples], dtype=np.int64)
    return Scored(logits, truth, sum(map(len, ids)), seconds)


def measure(scored: Scored, card: ModelCard) -> dict[str, Any]:
    """Figures of a single-label model as JSON: quality, calibration and throughput.

    Where the truth uses only some of the model's labels, `accuracy` counts the others as wrong, and
    `accuracy_among_present` chooses between the labels that are present.
    """
    scores, truth = probabilities(scored.logits, card), scored.truth
    predicted = scores.argmax(axis=1)
    present = np.unique(truth)
    figures: dict[str, Any] = {
        "rows": len(truth),
        "accuracy": _round((predicted == truth).mean()),
        "macro_f1": _round(f1_score(truth, predicted, labels=present, average="macro")),
        "calibration_error": _round(calibration_error(scores.max(axis=1), predicted == truth)),
        "per_label": _per_label(truth, predicted, card.labels),
        "confusion": confusion_matrix(truth, predicted, labels=range(len(card.labels))).tolist(),
        "texts_per_second": round(len(truth) / scored.seconds, 1),
        "tokens_per_second": round(scored.tokens / scored.seconds),
    }
    if len(present) < len(card.labels):
        among = present[scores[:, present].argmax(axis=1)]
        figures["accuracy_among_present"] = _round((among == truth).mean())
    if len(card.labels) == 2 and len(present) == 2:
        figures["auc"] = _round(roc_auc_score(truth, scores[:, 1]))
    return figures


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


def _per_label(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], labels: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    table = precision_recall_fscore_support(
        truth, predicted, labels=range(len(labels)), zero_division=0.0
    )
    *shares, rows = table
    names = ("precision", "recall", "f1")
    return {
        label: {
            **{name: _round(column[row]) for name, column in zip(names, shares, strict=True)},
            "rows": int(rows[row]),
        }
        for row, label in enumerate(labels)
    }


def _batches(ids: Sequence[TokenIds]) -> list[list[int]]:
    """Row numbers, texts of about one length together, within the token budget padding included."""
    batches: list[list[int]] = []
    for row in sorted(range(len(ids)), key=lambda row: len(ids[row])):
        if not batches or (len(batches[-1]) + 1) * len(ids[row]) > _BATCH_TOKENS:
            batches.append([])
        batches[-1].append(row)
    return batches


def _round(value: float) -> float:
    return round(float(value), 4)
