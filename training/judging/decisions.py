"""At which score a label may be acted on, and what that costs on texts it was not chosen on.

The bar of a label lets at most a share of the texts of other labels pass, in each source of texts
by itself: a kind of mail that is hard counts for itself, not as a small part of the whole. It is
chosen on all texts that the model has not learnt from. What to expect of it is counted twice on
texts that had no part in choosing: every second text by the bar of the others, and each source by
the bar of the other sources, as a kind of text that nobody thought of would be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_app.model.artifact import ModelCard
from stream_app.model.decision import probabilities
from training.judging import metrics
from training.judging.evaluate import Scored, labels_given
from training.recipe import Decide

RATES = ("false_positive_rate", "recall")
_DIGITS = 6  # of a score in a label record, by which it is decided


@dataclass(frozen=True, slots=True)
class Held:
    """Texts that a model has not learnt from, as one label sees them: the label's `scores`, 0 where
    it is not given or the text is unfamiliar, whether it is `right`, and the text's `source`.
    All are [rows]."""

    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    source: NDArray[np.str_]

    def at(self, rows: NDArray[np.bool_]) -> Held:
        """Some of them."""
        return Held(self.scores[rows], self.right[rows], self.source[rows])


def decided(
    card: ModelCard, how: Decide, parts: Sequence[Scored]
) -> tuple[ModelCard, dict[str, Any]]:
    """The card with the bars that the recipe asks for, and figures of them for the card.

    `parts` are held-out texts, scored. A label that the recipe does not name has no bar.
    """
    measured = any(part.familiarities is not None for part in parts)
    card = card.model_copy(update={"familiar_at": how.unfamiliar if measured else None})
    bars, figures = {}, {}
    for label, most in how.false_positives.items():
        held = held_out(card, label, parts)
        bars[label] = bar(held, most)
        figures[label] = {
            "decide_at": bars[label],
            "most_false_positives": most,
            "every_second_text": _counted(held, most, _halves(held)),
            "source_never_seen": _counted(held, most, _sources(held)),
        }
    told = {"decisions": figures} if figures else {}
    return card.model_copy(update={"decide_at": bars}), told


def passed(decisions: Mapping[str, Any], source: str) -> tuple[int, int]:
    """How many labels of a source's texts pass the bars that every other text chose, wrongly and
    rightly; by the card's `decisions`."""
    every = [told["every_second_text"][source] for told in decisions.values()]
    wrong, right = (sum(each[name]["texts"] for each in every) for name in RATES)
    return wrong, right


def held_out(card: ModelCard, label: str, parts: Sequence[Scored]) -> Held:
    """Scored texts as `label` sees them, by the card's calibration and its `familiar_at`; those of
    which it is known whether they have it."""
    column = card.labels.index(label)
    found = []
    for part in parts:
        scores = probabilities(part.logits, card, part.lengths)
        speaks = labels_given(part, card)[:, column]
        if part.familiarities is not None and card.familiar_at is not None:
            speaks &= part.familiarities >= card.familiar_at
        said = scores[:, column].astype(np.float64).round(_DIGITS)
        source = np.asarray(part.slices["source"], dtype=np.str_)
        found.append(
            Held(np.where(speaks, said, 0), part.truth[:, column], source).at(part.of_label(column))
        )
    return Held(
        np.concatenate([held.scores for held in found]),
        np.concatenate([held.right for held in found]),
        np.concatenate([held.source for held in found]),
    )


def acted_on(scored: Scored, card: ModelCard) -> NDArray[np.bool_]:
    """[rows, labels]: which of the labels that texts are given may be acted on."""
    scores = probabilities(scored.logits, card, scored.lengths)
    sure = labels_given(scored, card) & (scores >= np.array([*map(card.decided_from, card.labels)]))
    if scored.familiarities is not None and card.familiar_at is not None:
        sure &= (scored.familiarities >= card.familiar_at)[:, None]
    return np.asarray(sure)


def bar(held: Held, most: float) -> float:
    """The lowest score that at most a share `most` of each source's other texts reaches; 0 without
    any."""
    wrong = held.at(~held.right)
    each = [
        _passed_by(wrong.scores[wrong.source == name], most) for name in np.unique(wrong.source)
    ]
    return max(each, default=0.0)


def _passed_by(scores: NDArray[np.float64], most: float) -> float:
    stopped = float(np.sort(scores)[::-1][int(most * len(scores))])
    return min(1.0, round(stopped + 10**-_DIGITS, _DIGITS)) if stopped else 0.0


def _halves(held: Held) -> NDArray[np.int64]:
    """Every second of the label's own texts, and of the others: a file's labels may take turns."""
    group = np.zeros(len(held.right), np.int64)
    group[np.argsort(held.right, kind="stable")] = np.arange(len(group)) % 2
    return group


def _sources(held: Held) -> NDArray[np.int64]:
    return np.unique(held.source, return_inverse=True)[1]


def _counted(held: Held, most: float, group: NDArray[np.int64]) -> dict[str, Any]:
    """By source: what passes the bars that the other groups have chosen; nothing for one group."""
    passes = np.zeros(len(held.scores), dtype=bool)
    if len(np.unique(group)) < 2:
        return {}
    for number in np.unique(group):
        inside = group == number
        spoken = held.scores[inside]
        passes[inside] = (spoken > 0) & (spoken >= bar(held.at(~inside), most))
    return {str(name): _rates(held, passes, held.source == name) for name in np.unique(held.source)}


def _rates(held: Held, passes: NDArray[np.bool_], of: NDArray[np.bool_]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, among in zip(RATES, (of & ~held.right, of & held.right), strict=True):
        hits, count = int((passes & among).sum()), int(among.sum())
        told[name] = {
            "share": metrics.rounded(hits / max(1, count)),
            "interval": metrics.exact_interval(hits, count) if count else (0.0, 1.0),
            "texts": hits,
            "of": count,
        }
    return told
