"""The table and the plot of `bench/refresh.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.mail_filter import World

SPAM = 1


@dataclass(slots=True)
class Course:
    """How one filter fared, a value a period; and which gates stopped each refresh."""

    right: list[int] = field(default_factory=list)
    spam: list[int] = field(default_factory=list)
    caught: list[int] = field(default_factory=list)
    ham: list[int] = field(default_factory=list)
    suspected: list[int] = field(default_factory=list)
    stopped: list[list[str]] = field(default_factory=list)

    def add(self, truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> None:
        """Count a period."""
        spam = truth == SPAM
        self.right.append(int((truth == predicted).sum()))
        self.spam.append(int(spam.sum()))
        self.caught.append(int((predicted[spam] == SPAM).sum()))
        self.ham.append(int((~spam).sum()))
        self.suspected.append(int((predicted[~spam] == SPAM).sum()))

    def shares(self, first: int, end: int) -> tuple[float, float, float]:
        """Accuracy, spam recall and false-positive rate of periods `first` to before `end`."""
        some = slice(first, end)
        spam, ham = sum(self.spam[some]), sum(self.ham[some])
        accuracy = sum(self.right[some]) / (spam + ham)
        return accuracy, sum(self.caught[some]) / spam, sum(self.suspected[some]) / ham


def table(courses: Mapping[str, Course], world: World, period: int) -> str:
    """Markdown: accuracy / recall / false positives by part of the stream; refreshes; drift."""
    ends = [round(end / period) for end in world.parts.values()]
    ends[-1] = len(next(iter(courses.values())).right)
    spans = list(zip([0, *ends], ends, strict=False))
    lines = [f"| | {' | '.join(world.parts)} | served of refreshes | stopped most by |"]
    lines.append("|---" * (len(spans) + 3) + "|")
    for name, course in courses.items():
        cells = []
        for span in spans:
            accuracy, recall, false_positives = course.shares(*span)
            cells.append(f"{accuracy:.1%} / {recall:.1%} / {false_positives:.1%}")
        served = sum(not gates for gates in course.stopped)
        blamed = Counter(gate for gates in course.stopped for gate in gates).most_common(2)
        why = ", ".join(f"{gate} {count}" for gate, count in blamed)
        count = f"{served} of {len(course.stopped)}" if course.stopped else ""
        lines.append(f"| {name} | {' | '.join(cells)} | {count} | {why} |")
    lines += ["", "| drift, median | " + " | ".join(world.parts) + " |"]
    lines.append("|---" * (len(spans) + 1) + "|")
    for statistic in world.drift[0]:
        medians = [
            float(np.median([each[statistic] for each in world.drift[slice(*span)]]))
            for span in spans
        ]
        lines.append(f"| {statistic} | {' | '.join(f'{value:.2f}' for value in medians)} |")
    return "\n".join(lines)


def draw(courses: Mapping[str, Course], world: World, period: int, file: Path) -> None:
    """Accuracy, spam recall and false positives over time, and the drift that was to be seen."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(4, 1, figsize=(9, 11), sharex=True, layout="constrained")
    at = (np.arange(len(world.drift)) + 1) * period
    kinds = ("accuracy", "spam recall", "false-positive rate")
    for number, (axis, kind) in enumerate(zip(axes, kinds, strict=False)):
        for name, course in courses.items():
            values = [course.shares(n, n + 1)[number] for n in range(len(at))]
            dashed = "--" if "no gates" in name else "-"
            axis.plot(at, values, dashed, label=name, linewidth=1.2)
        axis.set_ylabel(kind)
    for statistic in world.drift[0]:
        axes[3].plot(at, [each[statistic] for each in world.drift], label=statistic)
    axes[3].axhline(0.25, color="grey", linestyle=":")
    axes[3].set(ylabel="drift score", yscale="symlog", xlabel="messages")
    axes[3].set_yticks([0, 0.25, 1, 4], ["0", "0.25", "1", "4"])
    for axis in axes:
        for end in list(world.parts.values())[:-1]:
            axis.axvline(end, color="grey", linewidth=0.8)
    axes[0].legend(fontsize=7, ncols=2)
    axes[3].legend(fontsize=7, ncols=3)
    axes[0].set_title(" | ".join(world.parts))
    figure.savefig(file)
