"""The figures of an evaluation: one function each, listed in FIGURES."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from stream_app.core.errors import SourceError
from stream_app.model.artifact import ModelCard
from stream_app.model.decision import probabilities
from training.judging import metrics
from training.judging.calibrate import calibration_error, error_by_chance
from training.judging.decisions import acted_on
from training.judging.evaluate import Scored, labels_given, short_texts

_SMALLEST_SLICE = 20  # rows: fewer say nothing


@dataclass(frozen=True, slots=True)
class Judged:
    """Scored texts as a card decides them: `scores` and `predicted` are [rows, labels]."""

    scored: Scored
    card: ModelCard
    scores: NDArray[np.float32]
    predicted: NDArray[np.bool_]

    @property
    def single_label(self) -> bool:
        return self.card.problem == "single_label"

    @property
    def two_labels(self) -> bool:
        """Whether texts have one of two labels, and both occur."""
        return self.single_label and len(self.card.labels) == len(self.present) == 2

    @property
    def truth(self) -> NDArray[np.int64]:
        """[rows] label indexes, of a single-label model."""
        return np.asarray(self.scored.truth.argmax(axis=1), dtype=np.int64)

    @property
    def present(self) -> NDArray[np.int64]:
        """The label indexes that are true of some text, of a single-label model."""
        return np.unique(self.truth)

    def confusion(self, at: NDArray[np.bool_] | slice = slice(None)) -> NDArray[np.int64]:
        """[truth, predicted] counts of the rows `at`, of a single-label model."""
        labels = range(len(self.card.labels))
        found = confusion_matrix(self.truth[at], self.predicted.argmax(axis=1)[at], labels=labels)
        return np.asarray(found, dtype=np.int64)


def measure(scored: Scored, card: ModelCard) -> dict[str, Any]:
    """Figures as JSON: quality with intervals, calibration, slices and throughput.

    Raises SourceError if a single-label model is judged by texts without exactly one label.
    """
    judged = _judged(scored, card)
    return {name: value for figure in FIGURES for name, value in figure(judged).items()}


def reported(
    about: Mapping[str, str], scored: Mapping[str, Scored], card: ModelCard
) -> dict[str, Any]:
    """The report of an evaluation: what it is `about`, and figures and plots by test."""
    return {
        **about,
        "test": {name: measure(part, card) for name, part in scored.items()},
        "plots": {name: plots(part, card) for name, part in scored.items()},
    }


def measure_short(scored: Scored, card: ModelCard) -> dict[str, Any]:
    """Accuracy and calibration error of the texts of up to 16 tokens, what chance has in it, and
    the error without the card's `evidence`; nothing without any."""
    short = short_texts(scored)
    if not len(short.truth):
        return {}
    judged = _judged(short, card)
    (confidence, right), (flat, _) = (
        _confidence(short, how) for how in (card, card.model_copy(update={"evidence": 0.0}))
    )
    return {
        "rows": len(short.truth),
        "accuracy": metrics.rounded((judged.predicted == short.truth).all(axis=1).mean()),
        "calibration_error": metrics.rounded(calibration_error(confidence, right)),
        "calibration_error_by_chance": metrics.rounded(error_by_chance(confidence)),
        "calibration_error_without_evidence": metrics.rounded(calibration_error(flat, right)),
        **among_present(judged),
    }


def plots(scored: Scored, card: ModelCard) -> dict[str, Any]:
    """What a page draws: curves of each label, and reliability before and after calibration."""
    scores = probabilities(scored.logits, card, scored.lengths)
    found = {
        label: metrics.curves(scores[at, column], scored.truth[at, column])
        for column, label in enumerate(card.labels)
        for at in [scored.of_label(column)]
    }
    return {
        "curves": {label: points for label, points in found.items() if points},
        "reliability": metrics.reliability(*_confidence(scored, card)),
        "reliability_before": metrics.reliability(*_confidence(scored, _uncalibrated(card))),
    }


Figures = Mapping[str, Any]  # by name; none where a figure has no meaning


def rows(judged: Judged) -> Figures:
    return {"rows": len(judged.scored.truth)}


def quality(judged: Judged, at: NDArray[np.bool_] | slice = slice(None)) -> Figures:
    """Accuracy, for which of several labels all have to be right, and F1, with intervals."""
    truth, predicted = judged.scored.truth[at], judged.predicted[at]
    accuracy = {"accuracy": metrics.rounded((predicted == truth).all(axis=1).mean())}
    if not judged.single_label:
        drawn = metrics.intervals_of_several(truth, predicted)
        return accuracy | metrics.f1_of_several(truth, predicted) | {"intervals": drawn}
    counts = judged.confusion(at)
    return accuracy | {
        "macro_f1": metrics.macro_f1(counts),
        "intervals": metrics.intervals(counts),
    }


def calibration(judged: Judged) -> Figures:
    """Expected calibration error as the card calibrates, and of the raw logits."""
    card = judged.card
    return {
        name: metrics.rounded(calibration_error(*_confidence(judged.scored, how)))
        for name, how in (
            ("calibration_error", card),
            ("calibration_error_before", _uncalibrated(card)),
        )
    }


def per_label(judged: Judged) -> Figures:
    truth, scores = judged.scored.truth, judged.scores
    *shares, counts = precision_recall_fscore_support(
        truth, judged.predicted, average=None, zero_division=0.0
    )
    names = ("precision", "recall", "f1")
    return {
        "per_label": {
            label: {
                **{n: metrics.rounded(col[row]) for n, col in zip(names, shares, strict=True)},
                **metrics.ranking(scores[at, row], truth[at, row]),
                "rows": int(counts[row]),
            }
            for row, label in enumerate(judged.card.labels)
            for at in [judged.scored.of_label(row)]
        }
    }


def confusion(judged: Judged) -> Figures:
    return {"confusion": judged.confusion().tolist()} if judged.single_label else {}


def slices(judged: Judged) -> Figures:
    """Rows, accuracy and F1 by each property that has more than one value."""
    tables = {name: _slice(judged, values) for name, values in judged.scored.slices.items()}
    return {"slices": {name: kinds for name, kinds in tables.items() if kinds}}


def among_present(judged: Judged) -> Figures:
    """Where the truth uses only some of the labels: `accuracy` counts the others as wrong, and so
    does the calibration error; these choose between the labels that are present."""
    if not judged.single_label or len(judged.present) == len(judged.card.labels):
        return {}
    scores = judged.scores[:, judged.present]
    right = judged.present[scores.argmax(axis=1)] == judged.truth
    confidence = scores.max(axis=1) / np.maximum(scores.sum(axis=1), 1e-12)
    error = calibration_error(confidence, right)
    return {
        "accuracy_among_present": metrics.rounded(right.mean()),
        "calibration_error_among_present": metrics.rounded(error),
    }


def short(judged: Judged) -> Figures:
    """Of the texts of up to 16 tokens, as they are: those in a card's own `short` are cut."""
    found = measure_short(judged.scored, judged.card)
    return {"short": found} if found.get("rows", 0) >= _SMALLEST_SLICE else {}


def ranking(judged: Judged) -> Figures:
    if not judged.two_labels:
        return {}
    return metrics.ranking(judged.scores[:, 1], judged.truth == 1)


def decisions(judged: Judged) -> Figures:
    """Shares of all labels that are given, one a text or several: decided and of those right, and
    left `unsure` though the label was right or because it was wrong; where the card has anything to
    leave them unsure by."""
    card, given = judged.card, judged.predicted
    if not (card.decide_at or card.familiar_at) or not given.any():
        return {}
    sure, right = acted_on(judged.scored, card)[given], judged.scored.truth[given]
    found = {
        "decided": sure.mean(),
        "right_of_decided": right[sure].mean() if sure.any() else 0.0,
        "unsure_though_right": (right & ~sure).mean(),
        "unsure_and_wrong": (~right & ~sure).mean(),
    }
    return {"decisions": {name: metrics.rounded(share) for name, share in found.items()}}


def recall_at_fpr(judged: Judged) -> Figures:
    if not judged.two_labels:
        return {}
    return {"recall_at_fpr": metrics.recall_at_fpr(judged.scores[:, 1], judged.truth == 1)}


def speed(judged: Judged) -> Figures:
    scored = judged.scored
    return {
        "texts_per_second": round(len(scored.truth) / scored.seconds, 1),
        "tokens_per_second": round(scored.tokens / scored.seconds),
    }


FIGURES: Sequence[Callable[[Judged], Figures]] = (
    rows,
    quality,
    calibration,
    per_label,
    confusion,
    slices,
    among_present,
    short,
    ranking,
    recall_at_fpr,
    decisions,
    speed,
)


def _judged(scored: Scored, card: ModelCard) -> Judged:
    scores = probabilities(scored.logits, card, scored.lengths)
    if card.problem == "single_label":
        odd = int((scored.truth.sum(axis=1) != 1).sum())
        if odd:
            raise SourceError(
                f"{odd} of {len(scored.truth)} texts have no label or several; {card.name} gives "
                "each text one: correct the data"
            )
    return Judged(scored, card, scores, labels_given(scored, card))


def _uncalibrated(card: ModelCard) -> ModelCard:
    return card.model_copy(update={"temperature": 1.0, "evidence": 0.0})


def _confidence(scored: Scored, card: ModelCard) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scores, and whether they came true: of the best label, or in multi-label of every label."""
    scores, truth = probabilities(scored.logits, card, scored.lengths), scored.truth
    if card.problem == "multi_label":
        known = np.ones_like(truth) if scored.known is None else scored.known
        return scores[known], truth[known]
    return scores.max(axis=1), truth[np.arange(len(truth)), scores.argmax(axis=1)]


def _slice(judged: Judged, values: Sequence[str]) -> dict[str, Any]:
    """Figures of the rows of each value; none where all rows have one."""
    kinds, of_row = np.unique(np.asarray(values), return_inverse=True)
    table: dict[str, Any] = {}
    for number, kind in enumerate(kinds):
        at = of_row == number
        if len(kinds) > 1 and at.sum() >= _SMALLEST_SLICE:
            table[str(kind) or "unknown"] = {"rows": int(at.sum()), **quality(judged, at)}
    return table
