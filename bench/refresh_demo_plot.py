"""The plot of the refresh demonstration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("agg")
import matplotlib.pyplot as plt

WINDOW = 100  # answers an average is over


def draw(answers: Sequence[Any], marks: Sequence[tuple[int, str]], file: Path) -> None:
    """Spam found and ham decided spam over the last WINDOW answers, and what happened when."""
    truth = np.array([answer.truth == "spam" for answer in answers])
    said = np.array([answer.said == "spam" for answer in answers])  # decided
    figure, axes = plt.subplots(figsize=(9, 4))
    axes.plot(_recent(said, truth), label="spam found")
    axes.plot(_recent(said, ~truth), label="ham decided spam")
    for place, name in marks:
        axes.axvline(place, color="grey", linewidth=0.8)
        axes.text(place, 1.02, f" {name}", rotation=30, fontsize=8)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(f"mails (means over the last {WINDOW})")
    axes.legend(loc="center left")
    figure.savefig(file, bbox_inches="tight")


def _recent(hits: np.ndarray[Any, Any], counted: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The share of hits among what counts, over the last WINDOW answers."""
    number = np.cumsum(counted)
    total = np.cumsum(hits & counted)
    first = np.maximum(np.arange(len(hits)) - WINDOW, 0)
    return (total - total[first]) / np.maximum(number - number[first], 1)
