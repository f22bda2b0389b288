"""What a champion and a challenger say of the same texts, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_app.model.artifact import Problem
from training.judging.calibrate import calibration_error

SURE = 0.99  # a score at which a model is sure: it is right about nearly all of that


@dataclass(frozen=True, slots=True)
class Opinion:
    """A model's answers, each [rows, labels]: its calibrated `scores`, the labels that it has
    `given`, and those of them that are `decided`: that may be acted on."""

    scores: NDArray[np.float32]
    given: NDArray[np.bool_]
    decided: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Compared:
    """Two models' opinions of the same texts, whose true labels are `truth` [rows, labels].

    What is not `known` [rows, labels] is nobody's mistake. `slices` group rows by a property, such
    as their length.
    """

    labels: Sequence[str]
    problem: Problem
    truth: NDArray[np.bool_]
    known: NDArray[np.bool_]
    champion: Opinion
    challenger: Opinion
    slices: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return len(self.truth)

    def wrong(self, opinion: Opinion) -> NDArray[np.bool_]:
        """[rows, labels]: what is given and should not be, or the other way round."""
        return np.asarray((opinion.given != self.truth) & self.known, dtype=np.bool_)

    def right(self, opinion: Opinion) -> NDArray[np.bool_]:
        """[rows]: whether all labels are as they should be."""
        return np.asarray(~self.wrong(opinion).any(axis=1), dtype=np.bool_)

    def use(self, opinion: Opinion) -> NDArray[np.int64]:
        """[rows]: how many decisions are right, less those that are wrong; of one label a text 1, 0
        where it is not decided, -1."""
        told = opinion.decided & self.known
        return np.asarray(np.where(self.truth, told, -1 * told).sum(axis=1), dtype=np.int64)

    def gain(self) -> NDArray[np.int64]:
        """[rows]: 1 where only the challenger is right, -1 where only the champion is."""
        return self.right(self.challenger).astype(np.int64) - self.right(self.champion)

    def gain_of(self, column: int) -> NDArray[np.int64]:
        """The same of one label, of the texts that it is about: those that have it, and where a
        text may have several those that either model gives it."""
        about = self.truth[:, column]
        if self.problem == "single_label":
            return self.gain()[about]
        about = about | self.champion.given[:, column] | self.challenger.given[:, column]
        before, after = (self.wrong(o)[:, column] for o in (self.champion, self.challenger))
        gain = before.astype(np.int64) - after
        return np.asarray(gain[about & self.known[:, column]], dtype=np.int64)

    def denied(self, opinion: Opinion) -> NDArray[np.bool_]:
        """[rows, labels]: where a model is wrong by what people say, and sure."""
        return np.asarray(sure(opinion.scores, self.problem) & self.wrong(opinion), dtype=np.bool_)

    def calibration_error(self, opinion: Opinion) -> float:
        """Of the best label's score, or of every label's."""
        if self.problem == "single_label":
            return calibration_error(opinion.scores.max(axis=1), self.right(opinion))
        return calibration_error(opinion.scores[self.known], self.truth[self.known])


def sure(scores: NDArray[np.floating], problem: Problem) -> NDArray[np.bool_]:
    """[texts, labels]: whether a model of these `scores` is sure if a text has the label or not.

    Of one label a text it is sure of all labels or of none, by the highest score; of several it may
    be sure of one and not of another.
    """
    if problem == "single_label":
        return np.asarray(np.broadcast_to(scores.max(axis=1, keepdims=True) >= SURE, scores.shape))
    return np.asarray((scores >= SURE) | (scores <= 1 - SURE))
