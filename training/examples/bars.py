"""From which score a label may be acted on, where examples can tell and it is worth it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_app.model.artifact import ModelCard
from training.examples.found import SOURCE, Examples
from training.judging.decisions import decided, passed
from training.judging.evaluate import Scored, labels_given
from training.judging.metrics import exact_interval
from training.recipe import Decide

USUAL = 0.01  # share of the texts of other labels that may reach a bar


def barred(
    card: ModelCard, found: Examples, scored: Scored, share: float | None
) -> tuple[ModelCard, dict[str, Any]]:
    """The card with a bar for each label, which a `share` of other labels' texts may reach, and
    figures of them. `scored` are the examples, out of fold.

    Where None is asked for there are bars if texts are enough to tell and the bars pay.
    """
    if share is None and _tell(found):
        with_bars, figures = _chosen(card, scored, USUAL)
        pay = _pay(figures["decisions"], scored.truth[labels_given(scored, card)])
        return (with_bars, figures) if pay else (card, {})
    if share is None or share == 1:
        return card, {}
    return _chosen(card, scored, share)


def _chosen(card: ModelCard, scored: Scored, share: float) -> tuple[ModelCard, dict[str, Any]]:
    return decided(card, Decide(false_positives=dict.fromkeys(card.labels, share)), [scored])


def _tell(found: Examples) -> bool:
    """Whether of the texts that each label has against it, half, by which the other half is judged,
    are so many that one may reach the bar."""
    against = found.different * (1 - max(found.counts.values()) / len(found.examples))
    return against / 2 >= 1 / USUAL


def _pay(decisions: dict[str, Any], right_of_given: NDArray[np.bool_]) -> bool:
    """Whether what passes the bars is right more often than all that is given, by more than chance;
    or the bars keep back no more than is wrong."""
    wrong, right = passed(decisions, SOURCE)
    kept_back = len(right_of_given) - wrong - right
    surer = exact_interval(right, wrong + right)[0] > right_of_given.mean()
    return bool(surer or kept_back <= (~right_of_given).sum())
