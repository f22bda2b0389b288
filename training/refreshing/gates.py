"""What a refreshed model must pass to be promoted: one pure function a gate, each with its reason.

The champion and the challenger are compared on the same texts, pair by pair, so that what both get
right or wrong adds no noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.judging.metrics import exact_interval
from training.recipe import Gates
from training.refreshing.opinions import Compared, Opinion

_RESAMPLES = 10_000
_TAIL = 0.05  # one-sided: a bound is wrong once in twenty
_SMALLEST_SLICE = 20  # rows: fewer say nothing


@dataclass(frozen=True, slots=True)
class Candidate:
    """The properties of a model besides its accuracy."""

    labels: tuple[str, ...]
    size: int  # bytes
    texts_per_second: float
    barred: frozenset[str] = frozenset()  # labels that are decided from some score on alone


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the gates judge by.

    `sources` counts by source the corrections that the champion has not learnt from, and
    `overturned` those of them that contradict what it is sure of; `corrections` counts all, and
    `contradicted` the messages that sources disagree on.
    """

    frozen: Compared  # texts that no correction changes
    invented: Compared  # kinds of mail that may not have come yet: only decisions count
    held_out: Compared  # corrections that no model learns from
    champion: Candidate
    challenger: Candidate
    sources: Mapping[str, int]
    overturned: Mapping[str, int]
    corrections: int
    contradicted: int


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate's verdict."""

    name: str
    passed: bool
    reason: str


def judge(evidence: Evidence, limits: Gates) -> list[Gate]:
    """Every gate's verdict."""
    return [Gate(gate.__name__.replace("_", " "), *gate(evidence, limits)) for gate in GATES]


Verdict = tuple[bool, str]


def enough_new_data(evidence: Evidence, limits: Gates) -> Verdict:
    new = sum(evidence.sources.values())
    return new >= limits.min_new, f"{new} new corrections (at least {limits.min_new})"


def no_source_floods(evidence: Evidence, limits: Gates) -> Verdict:
    """A source that gives most of the feedback decides the model's labels. One administrator does
    so, too, but corrects what the model did not know; an attack calls wrong what it knows well."""
    counts = {who: n for who, n in evidence.sources.items() if who not in limits.trusted}
    if not counts:
        return True, "every source is trusted"
    who = max(counts, key=counts.__getitem__)
    share = counts[who] / sum(evidence.sources.values())
    against = evidence.overturned.get(who, 0) / counts[who]
    reason = (
        f"{who!r} gave {share:.0%} of the new corrections (at most {limits.max_source_share:.0%}, "
        f"or at most {limits.max_overturned:.0%} of its own contradict what the champion is sure "
        f"of: {against:.0%} do)"
    )
    passed = share <= limits.max_source_share or against <= limits.max_overturned
    return passed, reason if passed else f"{reason}: if you trust them, give --trust {who}"


def sources_agree(evidence: Evidence, limits: Gates) -> Verdict:
    share = evidence.contradicted / max(1, evidence.corrections)
    reason = f"sources disagree on {share:.1%} of messages (at most {limits.max_contradicted:.0%})"
    return share <= limits.max_contradicted, reason


def labels_can_be_believed(evidence: Evidence, limits: Gates) -> Verdict:
    """Corrections that both models are sure are wrong, without having learnt them, mostly are."""
    pair = evidence.held_out
    doubted = pair.denied(pair.champion) & pair.denied(pair.challenger)
    hits = int(doubted.any(axis=1).sum())
    least = exact_interval(hits, pair.rows)[0] if pair.rows else 0.0
    reason = (
        f"both models are sure that {hits} of {pair.rows} held-out corrections are wrong: at least "
        f"{least:.1%} of all (at most {limits.max_doubted:.0%})"
    )
    return least <= limits.max_doubted, reason


def better_on_feedback(evidence: Evidence, limits: Gates) -> Verdict:
    pair = evidence.held_out
    if not pair.rows:
        return False, "no corrections were held out to test on"
    before, after = pair.use(pair.champion), pair.use(pair.challenger)
    low, _ = _bounds(after - before)
    shares = f"{(before > 0).mean():.2%} -> {(after > 0).mean():.2%}"
    reason = f"{shares} of {pair.rows} texts are decided right; the gain is at least {low:+.2%}"
    return low > 0, f"{reason} (above 0)"


def not_worse_on_frozen_test(evidence: Evidence, limits: Gates) -> Verdict:
    pair = evidence.frozen
    if not pair.rows:
        return False, "there are no texts to test on"
    low, _ = _bounds(pair.gain())
    least = -limits.max_accuracy_loss
    return low >= least, _told(pair, f"the change is at least {low:+.2%} (at least {least:+.2%})")


def no_slice_collapses(evidence: Evidence, limits: Gates) -> Verdict:
    """A slice collapses when it loses more than it may, and more than chance explains."""
    fallen = [
        f"{name} {gain.mean():+.1%} of {len(gain)}"
        for name, gain in _slices(evidence.frozen)
        if gain.mean() < -limits.max_slice_loss and _bounds(gain)[1] < 0
    ]
    return not fallen, f"collapsed: {', '.join(fallen)}" if fallen else "none did"


def is_calibrated(evidence: Evidence, limits: Gates) -> Verdict:
    pair = evidence.frozen
    before, after = (pair.calibration_error(o) for o in (pair.champion, pair.challenger))
    most = max(limits.max_calibration_error, before)
    return after <= most, f"calibration error {before:.3f} -> {after:.3f} (at most {most:.3f})"


def few_false_positives(evidence: Evidence, limits: Gates) -> Verdict:
    return _spared(evidence, evidence.frozen, limits.false_positives, lambda opinion: opinion.given)


def few_wrong_decisions(evidence: Evidence, limits: Gates) -> Verdict:
    """A label that is not acted on does little harm; a decision loses somebody's mail."""
    barred = evidence.champion.barred | evidence.challenger.barred
    limited = [label for label in limits.false_positives if label in barred]
    most = dict.fromkeys(limited, limits.max_wrong_decisions)
    real, invented = (
        _spared(evidence, pair, most, lambda opinion: opinion.decided)
        for pair in (evidence.frozen, evidence.invented)
    )
    return real[0] and invented[0], f"{real[1]}; of {evidence.invented.rows} invented {invented[1]}"


def decides_as_much(evidence: Evidence, limits: Gates) -> Verdict:
    """A bar that rises too far makes no mistakes, and is of no use."""
    pair = evidence.frozen
    before, after = (float((pair.use(o) > 0).mean()) for o in (pair.champion, pair.challenger))
    reason = f"{before:.2%} -> {after:.2%} of the frozen texts are decided right"
    return after >= before - limits.max_decided_loss, f"{reason} (-{limits.max_decided_loss:.0%})"


def is_fast(evidence: Evidence, limits: Gates) -> Verdict:
    before, after = evidence.champion.texts_per_second, evidence.challenger.texts_per_second
    if not before:
        return True, "the encoder is the same"
    reason = f"{before:.0f} -> {after:.0f} texts a second (at least {limits.min_speed:.0%} of it)"
    return after >= before * limits.min_speed, reason


def is_small(evidence: Evidence, limits: Gates) -> Verdict:
    before, after = evidence.champion.size, evidence.challenger.size
    reason = f"{before / 1e6:.1f} -> {after / 1e6:.1f} MB (at most {limits.max_growth:.0%} of it)"
    return after <= before * limits.max_growth, reason


def labels_are_declared(evidence: Evidence, limits: Gates) -> Verdict:
    before, after = evidence.champion.labels, evidence.challenger.labels
    if before == after:
        return True, "unchanged"
    reason = f"{', '.join(before)} -> {', '.join(after)}; declare the change in [gates] labels"
    return after == limits.labels, reason


GATES: Sequence[Callable[[Evidence, Gates], Verdict]] = (
    enough_new_data,
    no_source_floods,
    sources_agree,
    labels_can_be_believed,
    better_on_feedback,
    not_worse_on_frozen_test,
    no_slice_collapses,
    is_calibrated,
    few_false_positives,
    few_wrong_decisions,
    decides_as_much,
    is_fast,
    is_small,
    labels_are_declared,
)


def shifts(what: str, before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """A line for each label, or source, whose share changed by 5 points or more: for the report."""
    told = []
    for name in sorted({*before, *after}):
        old, new = (
            counts.get(name, 0) / max(1, sum(counts.values())) for counts in (before, after)
        )
        if abs(new - old) >= 0.05:
            told.append(f"{what} {name!r}: {old:.0%} -> {new:.0%}")
    return told


def _bounds(gain: NDArray[np.int64]) -> tuple[float, float]:
    """One-sided lower and upper bound of the mean of paired differences [rows].

    To draw pairs again is to draw from a multinomial distribution over the differences there are:
    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    rows, (values, counts) = len(gain), np.unique(gain, return_counts=True)
    drawn = np.random.default_rng(1).multinomial(rows, counts / rows, _RESAMPLES)
    low, high = np.quantile(drawn @ values / rows, [_TAIL, 1 - _TAIL])
    return float(low), float(high)


def _told(pair: Compared, more: str) -> str:
    before, after = pair.right(pair.champion).mean(), pair.right(pair.challenger).mean()
    return f"{before:.2%} -> {after:.2%} of {pair.rows} texts are right; {more}"


def _slices(pair: Compared) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """The gain of every slice that is large enough: those given, and each label's."""
    found = {label: pair.gain_of(column) for column, label in enumerate(pair.labels)}
    for values in pair.slices.values():
        kinds = np.asarray(values)
        found |= {str(kind): pair.gain()[kinds == kind] for kind in np.unique(kinds) if kind}
    for name, gain in found.items():
        if len(gain) >= _SMALLEST_SLICE:
            yield name, gain


Which = Callable[[Opinion], NDArray[np.bool_]]  # [rows, labels]: the labels that count


def _spared(
    evidence: Evidence, pair: Compared, limits: Mapping[str, float], which: Which
) -> Verdict:
    """At most this share of other labels' texts gets a label, or the champion's share."""
    passed, told = True, []
    for label, most in limits.items():
        if label in evidence.challenger.labels:
            before, after = (
                _false_positives(pair, each, label, which)
                for each in (pair.champion, pair.challenger)
            )
            most = max(most, before)
            passed = passed and after <= most
            told.append(f"{label}: {before:.2%} -> {after:.2%} (at most {most:.2%})")
    return passed, "; ".join(told) or "no label has a limit"


def _false_positives(pair: Compared, opinion: Opinion, label: str, which: Which) -> float:
    column = list(pair.labels).index(label)
    negatives = ~pair.truth[:, column] & pair.known[:, column]
    return float(which(opinion)[negatives, column].mean()) if negatives.any() else 0.0
